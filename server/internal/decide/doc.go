// Package decide is the conscience: it proposes, objects to itself, and explains. It may touch nothing.
//
// Step takes one input and the time and returns what is to be recorded and then done. There is no clock, no
// I/O and no goroutine here; the same inputs give the same outputs, byte for byte.
//
// # Guards
//
// Every guard rules on every proposal it fits. Object and cannot_tell hold the action, a bound limits it, and
// an answer that is missing, or a guard that breaks, is an objection.
//
//	n  name          drain restore operator  what it asks
//	 1 policy          x      x    -         condition and classes of the policy are present; its mode lets it act
//	 2 quorum          x           recorded  more than half of the configured vantages and at least 2; more than half
//	                                         of the configured replicas see the same
//	 3 classes         x           recorded  two classes over two paths, one of them outside or inside
//	 4 not_global      x           recorded  fewer than half of the serving sites show the same
//	 5 hold            x      x    recorded  failing (or healthy) for max(policy hold, floor), tilt taken out
//	 6 tilt            x      x    recorded  this replica does not doubt itself
//	 7 fresh           x      x    recorded  the observation is recent and two sites' inputs are fresh
//	 8 last_serving    x           refuses   min_serving sites, at least one, serve afterwards
//	 9 max_drained     x           recorded  no more than max_drained_sites are out afterwards
//	10 capacity        x           recorded  survivors can take the demand of before the failure x retry factor
//	11 exposure        x      x    recorded  reads only, or what every store would lack at the site that takes over is
//	                                         within its objective, and a person answers for it where no fence is
//	                                         proven; for a restore: the links of the site have caught up
//	12 assertions      x           recorded  every assertion holds in the state afterwards, and nothing that is
//	                                         declared to move with the subject stays behind
//	13 brake           x      x    recorded  the brake is off
//	14 budget          x           recorded  fewer automatic drains than the budget in this hour and day
//	15 lock            x      x    refuses   nothing runs on the subject, its site or what moves with it; cooldown;
//	                                         what did not work in this episode is not repeated by itself
//	16 flapping        x           recorded  fewer than 3 failing episodes of the subject in the last hour; one that
//	                                         led to a drain counts twice
//	17 freeze          x      x    recorded  no freeze window of its scope: emergency for a failing subject, else
//	                                         elective; restores
//	18 maintenance     x      x    recorded  nobody works at the subject, nor at a site that its users would go to
//	19 routing         x      x    recorded  the edge reports the weight that was commanded
//	20 approval        x      x    -         a person's yes where the mode asks for it, and nobody's veto or hold
//
// A maintenance that is declared in the midst of a policy's action stops it before its next step. Nobody is told that
// nothing acts for a subject that people work at, until that is over.
//
// An operator's drain or restore runs the same guards. Guard 8 (nobody may take the last site) and a step in
// flight on the same lock refuse it; every other objection is recorded as overridden, with the operator's
// reason: refusing more would drive people to change the routing behind our back. A restore is asked neither
// for capacity nor for the last serving site: it adds a site, it takes none away.
//
// Guard 8 is asked again before every later step of a drain and before a restore is taken back: what was true
// at the first step need not be true at the next. A restore goes on only while its subject is healthy; a step of it
// that nobody came to judge is passed over when the edge gives its weight, the last one is not.
//
// Restores do not use the budget: what could run away is the drain that each of them undoes, and a drain
// ordered by a person is undone by a person only.
//
// # Replicas
//
// Each of several replicas judges by itself; the one that leads decides, and takes the others' last words from its
// observation. A word counts that was heard in the last seconds, from a replica that is well, does not doubt itself
// and has fresh inputs from two sites, and agrees when it says the condition the policy asks for, or worse: of a whole
// site, of every service that the decision rests on. Doubt of the leader holds everything (guard 6); doubt of another
// withdraws its vote. A restore takes the leader's word: it adds a site in steps, and each step is verified.
//
// What a person commanded past the servers is put on record by reconcile, and becomes what is routed unless something
// newer was commanded since.
//
// # Memory
//
// All that decides is rebuilt from the ledger, what an episode needs to remember from its Standing. Lost with a
// restart are only for how long nothing could be judged, and the last minutes of demand, which a new leader recalls: an episode whose onset
// lies before the restart takes the first demand known within 30 s of its onset, and without one guard 10 cannot
// tell. A failure that begins more than a minute after the onset, of a suspicion of hours perhaps, is measured by
// the demand of its own beginning.
//
// What is drained and has no drain on record is restored by a person only.
//
// # Whole sites
//
// Health speaks of services. Two or more failing services that are all of a site's, or carry half or more of its
// demand, open an episode of the whole site: it is drained as one, by the policies that name no services, and the
// episodes of its services wait for it. An operator may order a whole site at any time.
//
// A command for a whole site moves every service of it: what is on record of a service follows once the drain is
// carried out, and from the first step of the restore. While a site is out as a whole nobody moves a service of
// it. A policy does not bring back a site of which a person has drained a service.
//
// # Limits
//
// No drained sites and no budget in core.Guards are what they say: nothing is drained by itself. Any other zero takes
// the default: 1 serving site, 30 min cooldown, retry factor 1, 4 h until a drain expires, 120 s to deliver a command,
// 60 s healthy to close.
package decide
