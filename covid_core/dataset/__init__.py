"""From the published table and its images to a patient-grouped split: what is used, what is not, and why."""
