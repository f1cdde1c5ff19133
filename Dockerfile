# The manager's image, for machines with Docker; `make release` makes the same without it.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package capn-controllers --bin manager

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/target/release/manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]
