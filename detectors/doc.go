// Package detectors holds statistical models that say, point by point, whether a series is where it should be.
//
// A [Model] is fed the points of one series in the order of their time and answers each with a [Verdict]:
// a state, the band it expected, a score, and the figures they came from. Models have no clock, do no I/O
// and start no goroutine; time comes in with the point. The same points give the same verdicts.
//
// The exported fields of a model are its parameters, and the zero value of each has a documented meaning, so
// a literal such as &RobustZ{} is ready for use. Parameters must not be changed after the first Observe.
// A model is not safe for concurrent use.
//
// What a series should be is known in different ways, and each has its model:
//
//   - [Auto]: nothing is known; how many false alarms a week it may cost is the setting
//   - [Service]: the same for all series of one thing together
//   - [Threshold]: somebody knows the limit
//   - [RobustZ]: as in the last hour
//   - [Seasonal]: as at this time of the week
//   - [LocalFit]: as the last few points go on
//   - [CUSUM]: as ever, on average
//   - [Trend]: not at its limit soon
//   - [BurnRate]: within its error budget
//   - [Absence]: there at all, and moving
//   - [Peers]: as its siblings now; a [RowModel], which is fed the values of all of them at a time
//
// Many p-values of one thing become one statement by [EValue], [MeanEValue] and [EProcess].
//
// At their defaults and a point every 10 s the tests hold them to these false alarms a week, over twelve simulated
// weeks of white noise and as many of noise whose points remember nine tenths of the one before; most had none. Real
// series have heavier tails and more of them: Auto and Service calibrate themselves on the past of each series, which the
// others do not. What they do on labelled series of operations is in README.md.
//
//	Auto       1     1     that is its setting
//	Seasonal   0.1   0.5
//	LocalFit   0     0
//	CUSUM      0.25  0.5
//	Trend      0     0.5   with a limit four deviations off
//	BurnRate   0     0     at half of the budget
//	Absence    0.5   -     with a tenth of the points lost, or arrivals at random
//	Peers      0.5   1     for three sites together
//
// A point costs 0.1 to 0.4 us of a processor, of RobustZ 0.6 us, of Auto 1 to 2 us and of Peers 1.5 us for three sites and 5.5 us for ten.
//
// Every model accepts every point. A missing value, NaN, an infinity and a point that is not later than the
// one before leave the model as it was and are answered with [StateUnknown]; no field of a verdict is
// ever NaN or infinite. Package detectortest checks these promises for any implementation.
package detectors
