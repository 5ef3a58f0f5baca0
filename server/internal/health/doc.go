// Package health is the judge: it weighs what the vantages saw and says what is known of each service at
// each site. It may not act, and it says unknown when it does not know.
//
// The package is pure: time and facts come in as values, an observation goes out as a value. There is no
// clock, no goroutine and no map order in an answer; the same calls give the same bytes. A Tracker is not
// safe for concurrent use: its owner serialises the calls.
//
// Subjects are the pairs (site, service) for which the service has an entry at the site. Trouble of a whole
// site shows at each of its services; decide joins them.
//
// # Votes
//
// A location has one vote per subject and probe on the user path: the newest result of each of its agents, combined
// by majority; anything else is unknown. Two agents of one location are members of the same vote when they say
// who they are. A service with several user-path probes (its entry and further ways in) is judged by its worst one, all
// votes being about that one: a success of another, a name that resolves or a port that is open, does not acquit it.
// A private path has no vote; what fails there is link evidence, which explains and never accuses. A result votes for three intervals, and not at all when its age is not known. The denominator is every
// configured site and witness but the accused; quorum is more than half of it and at least two. With exactly
// two locations in the world no outside quorum can exist; there the accused's own agent, when it says down
// itself, stands in as the second voice.
//
// # When a subject is failing
//
// FailingSince is the first failure after the newest success of any eligible vantage on that probe; one success anywhere
// resets it. A silence of all vantages longer than four intervals breaks the run: what nobody looked at is not
// known to have failed. The condition is failing as soon as a quorum of locations each hold a failure newer than that
// success: these are at least two distinct results from two places, and nothing is added to the hold, which
// decide measures from FailingSince. Only a subject that was gray just before must first stay without
// success for three seconds, or a coin that falls the same way twice would look like a death.
//
// A single failure while another vantage succeeds is no suspicion yet: at a loss of one packet in twenty it
// happens every few seconds. Two in a row, or two vantages, are.
//
// # Traffic
//
// Each writer of an edge counts for itself, and the edge is their sum. Rates are taken over the writer's own
// clock, which is right for durations whatever its offset; the time of receipt never makes a rate. A writer whose
// clock is not known proves that something was counted after a time only by reports that arrived after it, as
// fast as they were made: a backlog proves nothing. A counter that falls more than once in a few reports is two
// writers under one name: its traffic is unknown.
//
// # Replication
//
// Both ends of a link say what they see, each with bounds for the lag. Together they are worth the worse of the states that
// are known and the bounds that both allow, aged by the time since they looked: a lag cannot grow faster than time goes by.
// A link that flows at one end and is down at the other for longer than three intervals is not known. From every exposure
// of a writer whose clock is known follows a time to which the target is complete; the newest of these stays proven when
// the source and its agent die, so that what would be lost with them only grows with the clock. Silence, two writers and
// a copy that is made anew prove nothing. Links are causes and link evidence: they explain and never accuse.
//
// # Paths
//
// Evidence names the network path it came over, so that two classes over one path count as one:
// "user:ams>fra" a probe on the user path, "local:fra" what the site's own agent measured, "uplink:fra"
// the way of its agent to the server, "edge:director" the edge's counters, "private:ams>fra" a private
// path. A detector's path is that of the writer of its series when the series still carries it (label
// site), else PathUnknown, which must never count as another path.
package health
