# The README's two commands on a minimal Debian. scripts/test_fresh.sh takes every RUN line below, one line each, as it
# stands, so that this file is tested where no container engine is.
FROM debian:bookworm-slim

# What Swift itself needs (https://www.swift.org/install/linux), and git with its certificates.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git binutils-gold gcc g++ libc6-dev libcurl4 libedit2 libncurses6 libpython3.11 libsqlite3-0 libxml2 libz3-4 tzdata zlib1g-dev

ADD https://download.swift.org/swift-6.3.1-release/debian12/swift-6.3.1-RELEASE/swift-6.3.1-RELEASE-debian12.tar.gz /swift.tar.gz
RUN mkdir /opt/swift && tar xzf /swift.tar.gz --strip-components=1 -C /opt/swift && rm /swift.tar.gz
ENV PATH=/opt/swift/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

COPY . /cosmos-train
WORKDIR /cosmos-train
RUN scripts/quickstart.sh
RUN scripts/test.sh
