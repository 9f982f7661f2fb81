# The app alone: docker build -t covid-core . && docker run --rm -p 127.0.0.1:8501:8501 covid-core
FROM python:3.12-slim

# The last gives the memory of freed images back at once; see docs/DEPLOYMENT.md.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_MMAP_THRESHOLD_=65536
WORKDIR /app
COPY requirements.txt requirements.lock ./
RUN pip install --no-cache-dir --requirement requirements.txt --constraint requirements.lock
COPY . .
RUN useradd --create-home --uid 1000 reader
USER 1000

EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
# The welcome message would ask a server outside for this host's address.
CMD ["python", "-m", "streamlit", "run", "streamlit_app.py", "--server.address=0.0.0.0", "--server.port=8501", \
  "--server.headless=true", "--server.fileWatcherType=none", "--logger.hideWelcomeMessage=true"]
