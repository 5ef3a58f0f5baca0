package redis

import "fmt"

// HeartbeatSetUp is what an administrator runs at each server, or writes into its configuration, for the heartbeat: an account
// that may do nothing else. A password is left open.
func HeartbeatSetUp(account string) string {
	return fmt.Sprintf(`# At each server: accounts are not replicated. Save them with ACL SAVE or CONFIG REWRITE.
ACL SETUSER %s on >... resetkeys ~evenkeel:* resetchannels -@all +info +mget +mset
`, account)
}
