# Two stages: what it takes to install stays behind.
FROM python:3.11-slim AS build
WORKDIR /build
RUN ["python", "-m", "venv", "/opt/venv"]
COPY requirements/runtime.txt requirements/runtime.txt
RUN ["/opt/venv/bin/pip", "install", "--no-cache-dir", "--require-hashes", "-r", "requirements/runtime.txt"]
COPY pyproject.toml README.md LICENSE ./
COPY backend backend
RUN ["/opt/venv/bin/pip", "install", "--no-cache-dir", "--no-deps", "."]
# Ahead of the first start, which then has nothing to compile; the file system may be read-only by then.
RUN ["/opt/venv/bin/python", "-m", "compileall", "-q", "/opt/venv/lib"]

FROM python:3.11-slim
COPY --from=build /opt/venv /opt/venv
RUN groupadd --gid 10001 scheduler \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin scheduler \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SCHEDULER_DATA_DIR=/data \
    SCHEDULER_BIND_HOST=0.0.0.0 \
    SCHEDULER_PORT=8003 \
    SCHEDULER_LOG_FORMAT=json
WORKDIR /data
VOLUME ["/data"]
USER 10001:10001
EXPOSE 8003
STOPSIGNAL SIGTERM
# Asks the port that is set. A container that is only a worker has none: disable the check there.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os; from urllib.request import urlopen; urlopen(f'http://127.0.0.1:{os.environ[\"SCHEDULER_PORT\"]}/livez', timeout=2)"]
# No init is needed: as process 1 the server passes signals on and reaps orphans.
CMD ["python", "-m", "backend.scheduler"]
