# One image for api and worker:
#   docker build -t aimline .
#   docker run ... aimline migrate          (once, as the owner)
#   docker run ... aimline                  (the api)
#   docker run ... aimline worker
# The digest says which image the tag names: Python 3.13.15 on Debian 13. Change tag and digest together, at both places.
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/aimline
COPY requirements.lock /tmp/requirements.lock
RUN /opt/aimline/bin/pip install --require-hashes --no-deps -r /tmp/requirements.lock

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
RUN groupadd --system --gid 10001 aimline \
    && useradd --system --uid 10001 --gid aimline --home-dir /srv/aimline --no-create-home aimline
COPY --from=build /opt/aimline /opt/aimline
WORKDIR /srv/aimline
COPY migrations ./migrations
COPY openapi ./openapi
COPY app ./app
RUN python -m compileall -q app migrations
ENV PATH=/opt/aimline/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER aimline
EXPOSE 8000
# The api answers on its port; a worker or a single command has none, and is healthy while it runs.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import sys, urllib.request as r\nif b'serve' in open('/proc/1/cmdline', 'rb').read().split(b'\\0'): sys.exit(r.urlopen('http://127.0.0.1:8000/health/ready', timeout=4).status != 200)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
