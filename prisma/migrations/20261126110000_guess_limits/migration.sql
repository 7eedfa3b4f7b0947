-- Limits on guessing, shared by all processes: a try is counted before it is evaluated (docs/decisions/020).
SET lock_timeout = '2s';

CREATE TABLE "guess_limit" (
    "subject" BYTEA NOT NULL,
    "device" BYTEA NOT NULL,
    "factor" TEXT NOT NULL,
    "failures" INTEGER NOT NULL,
    "failed_at" TIMESTAMPTZ(3) NOT NULL,
    "open_at" TIMESTAMPTZ(3),
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "guess_limit_pkey" PRIMARY KEY ("subject", "device", "factor")
);
CREATE INDEX "guess_limit_expires_at_idx" ON "guess_limit"("expires_at");
-- Its rows change all the time.
ALTER TABLE "guess_limit" SET (autovacuum_vacuum_scale_factor = 0.02);

-- Counts one try at every limit, or at none: whoever finds one of them closed counts nowhere. Each array has one entry for each limit, in
-- the order in which rows are locked, which is the same for every caller: no two wait for each other.
--   free      so many failures close nothing; NULL never closes
--   tight     the same while `alarm` failures of everybody together are remembered
--   first     seconds that the limit stays closed after `free` failures, doubled with each further one, up to `longest`;
--             NULL: until it is forgotten, which is then `kept` after the first failure instead of the last
--   kept      seconds after which failures are forgotten while the limit never closed
CREATE FUNCTION reserve_guess(
  moment TIMESTAMPTZ, subjects BYTEA[], devices BYTEA[], factors TEXT[], free INTEGER[], tight INTEGER[], first INTEGER[], longest INTEGER[],
  kept INTEGER[], alarm INTEGER,
  OUT closed_until TIMESTAMPTZ, OUT counts INTEGER[], OUT open_ats TIMESTAMPTZ[]
) LANGUAGE plpgsql AS $$
DECLARE
  alarmed BOOLEAN;
  allowed INTEGER;
  counted INTEGER;
  ends TIMESTAMPTZ;
  opens TIMESTAMPTZ;
BEGIN
  -- A flush to disk would be paid with the rows locked, by everybody in turn. What a crash forgets is a fraction of a second.
  PERFORM set_config('synchronous_commit', 'off', true);
  -- Those who are refused write nothing and lock nothing.
  SELECT max(g.open_at) INTO closed_until
    FROM unnest(subjects, devices, factors) AS a(subject, device, factor) JOIN guess_limit g USING (subject, device, factor)
    WHERE g.open_at > moment AND g.expires_at > moment;
  IF closed_until IS NOT NULL THEN RETURN; END IF;

  alarmed := EXISTS (SELECT FROM guess_limit
    WHERE subject = '' AND device = '' AND factor = 'everyone' AND failures >= alarm AND expires_at > moment);
  FOR i IN 1 .. cardinality(subjects) LOOP
    INSERT INTO guess_limit AS g (subject, device, factor, failures, failed_at, open_at, expires_at)
      VALUES (subjects[i], devices[i], factors[i], 1, moment, NULL, moment + make_interval(secs => kept[i]))
      ON CONFLICT (subject, device, factor) DO UPDATE SET
        failures = CASE WHEN g.expires_at > moment THEN g.failures + 1 ELSE 1 END,
        failed_at = moment,
        open_at = NULL,
        expires_at = CASE WHEN g.expires_at > moment AND first[i] IS NULL THEN g.expires_at ELSE excluded.expires_at END
      WHERE g.open_at IS NULL OR g.open_at <= moment OR g.expires_at <= moment
      RETURNING g.failures, g.expires_at INTO counted, ends;
    -- Somebody was quicker: what was counted so far is undone below.
    IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = 'SP429'; END IF;

    allowed := CASE WHEN alarmed THEN tight[i] ELSE free[i] END;
    opens := NULL;
    IF counted >= allowed THEN
      IF first[i] IS NULL THEN opens := ends;
      ELSE
        -- NIST SP 800-63B-4 3.2.2: a hundred in a row. From there on it is one a day.
        opens := moment + make_interval(secs => CASE WHEN counted >= 100 THEN 86400
          ELSE LEAST(first[i] * 2 ^ LEAST(counted - allowed, 20), longest[i]) END);
        ends := moment + interval '30 days';
      END IF;
      UPDATE guess_limit SET open_at = opens, expires_at = ends WHERE (subject, device, factor) = (subjects[i], devices[i], factors[i]);
    END IF;
    counts := counts || counted;
    open_ats := open_ats || opens;
  END LOOP;
EXCEPTION WHEN SQLSTATE 'SP429' THEN
  counts := NULL;
  open_ats := NULL;
  SELECT COALESCE(max(g.open_at), moment) INTO closed_until
    FROM unnest(subjects, devices, factors) AS a(subject, device, factor) JOIN guess_limit g USING (subject, device, factor)
    WHERE g.open_at > moment AND g.expires_at > moment;
END $$;

-- Takes back a try that did not fail, by the same arrays. `reserved`: the counts it was given; a limit that it closed itself is open again.
-- With `succeeded` the first limit is that of one factor and the second that of all together: the failures of the factor are forgotten in
-- both. Everything else only loses the one try, so that nobody can wash an address clean with an account of his own.
CREATE FUNCTION return_guess(
  subjects BYTEA[], devices BYTEA[], factors TEXT[], free INTEGER[], reserved INTEGER[], succeeded BOOLEAN
) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
  forgotten INTEGER := 1;
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  FOR i IN 1 .. cardinality(subjects) LOOP
    IF succeeded AND i = 1 THEN
      DELETE FROM guess_limit WHERE (subject, device, factor) = (subjects[i], devices[i], factors[i]) RETURNING failures INTO forgotten;
      CONTINUE;
    END IF;
    UPDATE guess_limit SET
      failures = GREATEST(failures - CASE WHEN succeeded AND i = 2 THEN COALESCE(forgotten, 1) ELSE 1 END, 0),
      open_at = CASE WHEN failures = reserved[i] OR failures <= free[i] THEN NULL ELSE open_at END
      WHERE (subject, device, factor) = (subjects[i], devices[i], factors[i]);
  END LOOP;
END $$;
