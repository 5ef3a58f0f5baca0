package mysql

import "fmt"

// HeartbeatSetUp is what an administrator runs for the heartbeat: the tables, and an account that may do nothing else. A
// password is left open.
func HeartbeatSetUp(account, database string) string {
	return fmt.Sprintf("-- At one server that takes writes. Replication brings it to the others.\n"+
		"CREATE DATABASE IF NOT EXISTS `%[1]s`;\nUSE `%[1]s`;\n%[2]s\n\n"+
		"CREATE USER '%[3]s'@'%%' IDENTIFIED BY '...' WITH MAX_USER_CONNECTIONS 4;\n"+
		"GRANT SELECT, INSERT, UPDATE ON `%[1]s`.evenkeel_heartbeat TO '%[3]s'@'%%';\n"+
		"GRANT SELECT, INSERT, UPDATE ON `%[1]s`.evenkeel_echo TO '%[3]s'@'%%';\n"+
		"GRANT SELECT, INSERT, UPDATE ON `%[1]s`.evenkeel_canary TO '%[3]s'@'%%';\n"+
		"-- Never READ_ONLY ADMIN or SUPER: a replica must refuse it.\n", database, HeartbeatDDL, account)
}
