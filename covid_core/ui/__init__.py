"""What the pages of the app share. The only subpackage that imports streamlit."""
