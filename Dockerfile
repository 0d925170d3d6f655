# One image for both Executors. Built as it is, it runs FinetunerExecutor; the data Executor is a second tag:
#
#   docker build --tag finetuner .
#   docker build --tag finetuner-match-data --build-arg CONFIG=executors/match_data.yml .
#   docker run --publish 8080:8080 --volume finetuner:/workspace finetuner
#
# It carries no weights: they come with the workspace, or from a package or folder that an operator adds.
FROM python:3.11-slim

# pip reads it: an index that has the CPU build of torch makes the image several GB smaller
ARG PIP_EXTRA_INDEX_URL
ENV PYTHONUNBUFFERED=1 \
    JINA_OPTOUT_TELEMETRY=1

# any user may run it (--user): jina keeps its locks in the home, and everything else is in the workspace
ENV HOME=/home/finetuner
RUN useradd --uid 1000 finetuner \
    && install --directory --owner finetuner --group finetuner --mode 1777 "$HOME" /workspace

# jina mounts a volume over /app when it starts an image, so nothing lives there
WORKDIR /workdir
COPY requirements.txt .
RUN pip install --no-cache-dir --requirement requirements.txt

COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && python -m compileall -q executors finetuner

# jina's exports and docker:// Executors take config.yml, hence one tag for each Executor
ARG CONFIG=config.yml
RUN [ "$CONFIG" = config.yml ] || cp "$CONFIG" config.yml

USER finetuner
VOLUME /workspace
EXPOSE 8080

# as PID 1 jina obeys SIGTERM only with --native
ENTRYPOINT ["jina", "executor", "--native", "--uses", "config.yml", "--workspace", "/workspace"]
CMD ["--port", "8080"]

# 'jina ping' imports torch, which costs seconds; the port is the one that the Executor was started with
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python", "-c", "\
import grpc, pathlib, sys; \
from grpc_health.v1 import health_pb2, health_pb2_grpc; \
words = pathlib.Path('/proc/1/cmdline').read_text().split(chr(0)); \
port = words[words.index('--port') + 1]; \
channel = grpc.insecure_channel('127.0.0.1:' + port, options=[('grpc.enable_http_proxy', 0)]); \
answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=4); \
sys.exit(answer.status != health_pb2.HealthCheckResponse.SERVING)"]
