package detectors

// What a parameter of zero means, for those who show it or reckon with it.
const (
	DefaultFalseAlarmsPerWeek = defaultPerWeek   // of Auto and Service
	DefaultRobustZThreshold   = defaultThreshold // scales
	DefaultSeasonalThreshold  = seasonalReach
	DefaultLocalFitThreshold  = localReach
	DefaultPeersThreshold     = peersReach
	DefaultTrendWindow        = trendWindow
	DefaultTrendHorizon       = trendHorizon
	DefaultObjective          = defaultObjective // of BurnRate
	DefaultPatience           = defaultPatience  // of Absence, in intervals
)
