package postgresql

import "fmt"

// HeartbeatSetUp is what a superuser runs for the heartbeat of a site: the tables, an account that may do nothing else, and what
// makes logical replication carry them. A password is left open.
func HeartbeatSetUp(account, site string) string {
	return fmt.Sprintf(`-- At each primary, in the database that is replicated. A standby gets it from its primary.
%[1]s
CREATE ROLE "%[2]s" LOGIN PASSWORD '...' CONNECTION LIMIT 4;
GRANT SELECT, INSERT, UPDATE ON public.evenkeel_heartbeat, public.evenkeel_echo, public.evenkeel_canary TO "%[2]s";

-- Only with logical replication, from version 15 on: each site publishes its own rows, so that they do not come back. They would
-- with another publication of the same tables in the same subscription, as FOR ALL TABLES is.
CREATE PUBLICATION evenkeel_%[4]s FOR TABLE
  public.evenkeel_heartbeat WHERE (origin_site = '%[3]s'),
  public.evenkeel_echo WHERE (observer_site = '%[3]s'),
  public.evenkeel_canary WHERE (origin_site = '%[3]s');
-- At each other site, by the subscription that carries the data, so that both come in order:
-- ALTER SUBSCRIPTION ... ADD PUBLICATION evenkeel_%[4]s;
`, HeartbeatDDL, account, site, plain(site))
}

// plain is a site in a name that needs no quotes.
func plain(site string) string {
	out := []byte(site)
	for i, c := range out {
		if c == '-' {
			out[i] = '_'
		}
	}
	return string(out)
}
