// Evenkeel-lab is three real sites on one machine: shops with replicated data, users, a traffic director, an
// agent per site and the server or three replicas of it, each a process of its own, with cables between them that can be cut.
//
//	evenkeel-lab run [--replicas 3]      start; Ctrl-C stops everything
//	evenkeel-lab fault fra kill          break something (fault --help lists what)
//	evenkeel-lab heal [fra]              mend it
//	evenkeel-lab load 90                 more or fewer users
//	evenkeel-lab status [--json]         see everything
//	evenkeel-lab config --profile two    print the server configuration of a profile
package main
