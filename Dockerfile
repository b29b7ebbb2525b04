# syntax=docker/dockerfile:1
FROM rust:1-slim-bookworm AS build
# SQLite comes as C source and is compiled in; ring needs a C compiler too.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG SQUELCH_REVISION=unknown
ENV SQUELCH_REVISION=$SQUELCH_REVISION
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin squelch \
 && install -D -m 0755 target/release/squelch /out/squelch

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 65534 -g 65534 /squelch
COPY --from=build /out/squelch /bin/squelch
COPY config/squelch.yml /etc/squelch/squelch.yml
USER 65534:65534
WORKDIR /squelch
VOLUME /squelch
EXPOSE 9096
# The image has no curl; bash opens the connection itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD [ "bash", "-c", \
  "exec 3<>/dev/tcp/127.0.0.1/9096 && printf 'GET /-/healthy HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '" ]
ENTRYPOINT ["/bin/squelch"]
CMD ["serve", "--config.file=/etc/squelch/squelch.yml", "--storage.path=/squelch", \
     "--web.listen-address=0.0.0.0:9096"]
