# Four stages: generate the database client, install what production needs, compile once, and put it all beside the sources on an
# image that has no shell and no package manager. The process runs as a user without rights and writes nothing: --read-only works.
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc prisma.config.ts ./
COPY prisma prisma
# Scripts are off: the pinned runtime and the embedded database are development tools, and the one script that is needed follows.
RUN npm ci --ignore-scripts && node prisma/generate.mjs

FROM node:24.21.0-bookworm-slim AS production
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# --omit=optional: Prisma's command line is an optional peer of its client and would come along with 260 MB.
# Of Prisma's query compilers only PostgreSQL's is ever loaded, its WebAssembly from the generated client; the others and the source maps are 60 MB.
RUN npm ci --omit=dev --omit=optional --ignore-scripts \
 && find node_modules/@prisma/client/runtime \( -name 'query_compiler_*' ! -name 'query_compiler_small_bg.postgresql.mjs' -o -name '*.map' -o -name 'wasm-compiler-edge.*' \) -delete

# What Node would make of the files at each start, for the user of the image below (docs/decisions/016). Node takes it only on a
# processor like this one and with the same options.
FROM node:24.21.0-bookworm-slim AS compiled
WORKDIR /app
COPY --from=production /app/node_modules node_modules
COPY package.json ./
COPY views views
COPY src src
COPY --from=build /app/src/db/generated src/db/generated
RUN mkdir -p node_modules/.cache/sallyport && chown 65532:65532 node_modules/.cache/sallyport
USER 65532:65532
RUN NODE_COMPILE_CACHE=/app/node_modules/.cache/sallyport node --max-semi-space-size=4 --input-type=module \
    -e "for (const name of ['cli/program', 'main', 'serving']) await import('/app/src/' + name + '.ts')" \
 && chmod -R a+rX node_modules/.cache/sallyport

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Sallyport" org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /usr/local/bin/node /usr/local/bin/node
COPY --from=production /app/node_modules node_modules
COPY --from=compiled /app/node_modules/.cache/sallyport node_modules/.cache/sallyport
COPY package.json LICENSE ./
COPY prisma/migrations prisma/migrations
COPY views views
COPY src src
COPY --from=build /app/src/db/generated src/db/generated
USER 65532:65532
EXPOSE 3000
STOPSIGNAL SIGTERM
# The exec form: there is no shell in this image.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["node", "-e", "fetch('http://127.0.0.1:'+(process.env.PORT||3000)+'/healthz').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
# The option is that of `npm start`.
ENTRYPOINT ["node", "--max-semi-space-size=4", "src/sallyport.mjs"]
CMD ["start"]
