// Command calibrate counts the false alarms of the detector auto on simulated noise, beside the number that was set.
//
//	go run ./deploy/calibrate -series 2000
//
// Each series is noise that goes on as it began, so that every alarm is a false one. It is watched for two weeks without
// counting and then for four. A line of the table is a kind of noise and a budget, with the exact Poisson interval of 95 %
// (Garwood, Biometrika 28 (1936)) of what was counted. The same flags give the same table.
package main
