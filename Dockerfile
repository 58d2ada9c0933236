# syntax=docker/dockerfile:1
FROM node:20-bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends git ca-certificates && rm -rf /var/lib/apt/lists/*
WORKDIR /muster
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev

FROM node:20-bookworm-slim
# git keeps the depot and pushes to git providers, for some of them by ssh; tini passes signals on and reaps what git
# leaves; certificates are for git providers and downloads.
RUN apt-get update && apt-get install -y --no-install-recommends git openssh-client tini ca-certificates && rm -rf /var/lib/apt/lists/* \
 && useradd --system --home-dir /var/lib/muster --create-home muster
WORKDIR /muster
COPY --from=build /muster/package.json ./
COPY --from=build /muster/node_modules node_modules
COPY --from=build /muster/prisma prisma
COPY --from=build /muster/dist dist
ENV NODE_ENV=production MUSTER_HOST=0.0.0.0 MUSTER_DATA_DIR=/var/lib/muster
USER muster
VOLUME /var/lib/muster
EXPOSE 2718
ENTRYPOINT ["tini", "--"]
CMD ["node", "dist/src/server.js"]
