package kafka

import (
	"fmt"
	"strings"
)

// HeartbeatSetUp is what an administrator sets up in a site's cluster for the heartbeat: a topic of its own, which MirrorMaker
// copies, and an account that may do nothing but write it and read it and the copies of the others'. A password is left open.
// The aliases are MirrorMaker's, of the other sites' clusters.
func HeartbeatSetUp(account, topic string, aliases []string) string {
	var out strings.Builder
	_, _ = fmt.Fprintf(&out, `# Each command needs --bootstrap-server HOST:PORT, and --command-config where the cluster asks who you are.
# With three brokers; with one, --replication-factor 1 and no min.insync.replicas. Old beats are gone after two hours.
kafka-topics --create --topic %[1]s --partitions 1 --replication-factor 3 --config min.insync.replicas=2 \
  --config cleanup.policy=compact --config segment.ms=3600000 --config max.compaction.lag.ms=3600000

kafka-configs --alter --entity-type users --entity-name %[2]s --add-config 'SCRAM-SHA-512=[password=...]'
kafka-acls --add --allow-principal User:%[2]s --operation Read --operation Write --topic %[1]s
`, topic, account)
	for _, alias := range aliases {
		_, _ = fmt.Fprintf(&out, "kafka-acls --add --allow-principal User:%s --operation Read --topic %s.%s\n", account, alias, topic)
	}
	_, _ = fmt.Fprintf(&out, `
# In the configuration of MirrorMaker, both ways: its topics have to match this one besides those that they name. It looks for new topics
# each refresh.topics.interval.seconds, ten minutes unless it says otherwise.
# A->B.topics = ...|%s
`, topic)
	return out.String()
}
