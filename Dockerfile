# One image for web, worker, beat and the release step; the command chooses (deploy/compose.yaml shows all four).

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /venv
COPY requirements.lock .
# Wheels only: a package that had to be compiled would need a compiler here and could differ from what was tested.
RUN /venv/bin/pip install --require-hashes --only-binary :all: -r requirements.lock

FROM python:3.13-slim
# No bytecode is written and nothing is buffered: the file system may be read-only, and a log line is out when it is written.
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --home-dir /srv --no-create-home --shell /usr/sbin/nologin orderwire
WORKDIR /srv
COPY --from=build /venv /venv
COPY . .
# Static files get names with their hash and compressed twins now, so that serving them needs no writing. The values are
# for this step alone; collecting reads neither a database nor a secret.
RUN SECRET_KEY=only-for-this-step-and-signs-nothing ALLOWED_HOSTS=only-for-this-step python manage.py collectstatic --noinput --verbosity 0 \
 && python -m compileall -q -j 0 api config notifications orders
USER orderwire
ENV PORT=8000
EXPOSE 8000
# For docker alone; compose and Kubernetes bring their own. /healthz touches nothing but the process.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=2)"]
# gunicorn drains its sockets on SIGTERM; give it DRAIN_SECONDS and 15 s more before a kill (stop_grace_period).
STOPSIGNAL SIGTERM
CMD ["gunicorn", "--config", "deploy/gunicorn.conf.py", "config.asgi:application"]
