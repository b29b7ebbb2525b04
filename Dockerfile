# syntax=docker/dockerfile:1
# The image has the program, the libraries that it loads, and the certificates of public authorities. It has no shell.
ARG BUILD_IMAGE=rust:1-slim-bookworm

FROM ${BUILD_IMAGE} AS build
# SQLite, zstd and ring have C source.
RUN command -v cc && test -e /etc/ssl/certs/ca-certificates.crt || { \
      apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev ca-certificates; }
WORKDIR /src
COPY . .
ARG SQUELCH_REVISION=
ARG SQUELCH_REVISION_DATE=
RUN cargo build --profile dist --locked --bin squelch
RUN mkdir -p /out/bin /out/etc/ssl/certs /out/squelch \
 && cp target/dist/squelch /out/bin/ \
 && ldd target/dist/squelch | grep -o '/[^ ]*' | xargs cp --dereference --parents --target-directory=/out \
 && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
 && echo 'hosts: files dns' >/out/etc/nsswitch.conf \
 && echo 'nobody:x:65534:65534:nobody:/squelch:/sbin/nologin' >/out/etc/passwd \
 && chown 65534:65534 /out/squelch \
 && mkdir --mode=1777 /out/tmp

FROM scratch
COPY --from=build /out/ /
COPY config/squelch.yml /etc/squelch/squelch.yml
USER 65534:65534
WORKDIR /squelch
VOLUME /squelch
EXPOSE 9096
ENV SQUELCH_CONFIG_FILE=/etc/squelch/squelch.yml \
    SQUELCH_STORAGE_PATH=/squelch \
    SQUELCH_WEB_LISTEN_ADDRESS=0.0.0.0:9096
ENTRYPOINT ["/bin/squelch"]
CMD ["serve"]
