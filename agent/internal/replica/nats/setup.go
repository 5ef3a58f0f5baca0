package nats

import "fmt"

// HeartbeatSetUp is what an administrator sets up at a site for the heartbeat: its subjects in the site's own stream, which are
// copied with the rest, and a user that may do nothing else. A password is left open.
func HeartbeatSetUp(account, stream, copied, site string) string {
	return fmt.Sprintf(`# The subjects of this site, besides those that the stream has. A stream that is limited needs max_msgs_per_subject as well,
# a tenth of the limit at most: heartbeats are not written where they could displace messages.
nats stream edit %[2]s --subjects='...,%[4]s,%[5]s'

# In the configuration of the server, in the account that has the streams. Where a copy is made with a filter, add the subjects to it.
users: [{user: "%[1]s", password: "...", permissions: {
  publish: ["$JS.API.STREAM.INFO.%[2]s", "$JS.API.STREAM.MSG.GET.%[2]s", "$JS.API.STREAM.MSG.GET.%[3]s", "%[4]s", "%[5]s"]
  subscribe: ["_INBOX_evenkeel.>"]
}}]
`, account, stream, copied, beatSubject(site), echoSubject(site, "*"))
}
