# One image for every role: `ibid serve` (the default), `ibid worker`, `ibid db upgrade`.

# The page.
FROM node:22-slim AS page
WORKDIR /build
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-fund --no-audit
COPY web ./
RUN npm run build

# The environment. Compilers and caches stay behind in this stage.
FROM python:3.11-slim AS environment
# Set it to PyTorch's public CPU index (README, "Set-up"): without it, Linux gets the CUDA build and gigabytes more.
ARG TORCH_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /srv/ibid
RUN python -m venv .venv
COPY pyproject.toml constraints.txt ./
# The dependencies alone, so that a change of our own code installs nothing anew.
RUN .venv/bin/python -c "import tomllib; made = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*made['dependencies'], *made['optional-dependencies']['ocr'], sep='\n')" > requirements.txt \
  && .venv/bin/pip install --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --requirement requirements.txt
COPY . .
RUN .venv/bin/pip install --no-deps --editable . && rm -r web \
  && .venv/bin/python -m compileall -q api ibid ingest migrations retrieval worker \
  && IBID_ENCODER_DIR=/srv/encoders .venv/bin/ibid encoder prepare

FROM python:3.11-slim
# libmagic tells file types apart by their bytes.
RUN apt-get update && apt-get install --yes --no-install-recommends libmagic1 && rm -rf /var/lib/apt/lists/* \
  && useradd --system --uid 10001 --home-dir /srv/ibid ibid && install --directory --owner=ibid --mode=700 /data
WORKDIR /srv/ibid
COPY --from=environment /srv/ibid /srv/ibid
# The default encoder is made; others are made here when first needed (docker-compose.yml keeps them).
COPY --from=environment --chown=10001 /srv/encoders /srv/encoders
COPY --from=page /build/dist web/dist
# Inside a container 0.0.0.0 is the container; what reaches it is decided where the port is published.
ENV PATH=/srv/ibid/.venv/bin:$PATH PYTHONUNBUFFERED=1 IBID_DATA_DIR=/data IBID_ENCODER_DIR=/srv/encoders IBID_HOST=0.0.0.0 IBID_PORT=8000
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["ibid"]
CMD ["serve"]
