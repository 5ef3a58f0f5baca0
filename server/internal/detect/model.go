package detect

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

// Model names the statistical model of a watch.
type Model string

// The models.
const (
	ModelAuto      Model = "auto"
	ModelThreshold Model = "threshold"
	ModelRobustZ   Model = "robust-z"
	ModelSeasonal  Model = "seasonal"
	ModelLocalFit  Model = "local-fit"
	ModelCUSUM     Model = "cusum"
	ModelTrend     Model = "trend"
	ModelBurnRate  Model = "burn-rate"
	ModelAbsence   Model = "absence"
	ModelPeers     Model = "peers"
	ModelService   Model = "service"
)

// models are those that a watch can have, the default first.
func models() []Model {
	return []Model{
		ModelAuto, ModelThreshold, ModelRobustZ, ModelSeasonal, ModelLocalFit, ModelCUSUM, ModelTrend, ModelBurnRate, ModelAbsence,
		ModelPeers, ModelService,
	}
}

func listed(models []Model) string {
	names := make([]string, len(models))
	for i, m := range models {
		names[i] = string(m)
	}
	return strings.Join(names, ", ")
}

func (w Watch) model() Model {
	if w.Model == "" {
		return ModelAuto
	}
	return w.Model
}

// threshold is 0 for that of the model.
func (w Watch) threshold() float64 {
	if w.Threshold == nil {
		return 0
	}
	return *w.Threshold
}

// Filled is the watch with all that its model takes where nothing is said of it, as far as it can be said.
func (w Watch) Filled() Watch {
	scales := func(x float64) {
		if w.Threshold == nil {
			w.Threshold = &x
		}
	}
	switch w.model() {
	case ModelAuto, ModelService:
		w.FalseAlarms = w.falseAlarms()
	case ModelRobustZ:
		scales(detectors.DefaultRobustZThreshold)
	case ModelSeasonal:
		scales(detectors.DefaultSeasonalThreshold)
	case ModelLocalFit:
		scales(detectors.DefaultLocalFitThreshold)
	case ModelPeers:
		scales(detectors.DefaultPeersThreshold)
	case ModelTrend:
		w.Window, w.Horizon = w.lookback(), cmp.Or(w.Horizon, detectors.DefaultTrendHorizon)
	case ModelBurnRate:
		w.Objective = cmp.Or(w.Objective, detectors.DefaultObjective)
	case ModelAbsence:
		w.Patience = cmp.Or(w.Patience, detectors.DefaultPatience)
	case ModelThreshold, ModelCUSUM:
	}
	if _, apart := w.apart(); apart > 0 && w.training(apart) <= maxTraining {
		w.Training = w.training(apart)
	}
	w.MaxSeries = w.maxSeries()
	return w
}

// side is the watched side as the models know it.
func (w Watch) side() detectors.Direction {
	switch w.Direction {
	case DirectionAbove:
		return detectors.Above
	case DirectionBelow:
		return detectors.Below
	case DirectionBoth:
	}
	return detectors.Both
}

// newModel is a fresh model for one series of the watch, in the civil time of the site that it is about; nil when there is
// none of that name, or it takes rows.
func (w Watch) newModel(zone *time.Location) detectors.Model {
	switch w.model() {
	case ModelAuto:
		return &detectors.Auto{
			FalseAlarmsPerWeek: w.FalseAlarms, Direction: w.side(), Location: zone,
			AbsoluteFloor: w.Floor.Absolute, RelativeFloor: max(0, w.Floor.Relative),
		}
	case ModelThreshold:
		return &detectors.Threshold{
			Limit: w.threshold(), Direction: w.side(), TriggerPoints: w.TriggerPoints, TriggerOf: w.TriggerOf,
			RecoverPoints: w.RecoverPoints, RecoverOf: w.RecoverOf,
		}
	case ModelRobustZ:
		return &detectors.RobustZ{
			Window: modelWindow, AdaptAfter: modelAdapt, Threshold: w.threshold(), Direction: w.side(),
			AbsoluteFloor: w.Floor.Absolute, RelativeFloor: w.Floor.Relative, TriggerPoints: w.TriggerPoints, TriggerOf: w.TriggerOf,
			RecoverPoints: w.RecoverPoints, RecoverOf: w.RecoverOf,
		}
	case ModelSeasonal:
		return &detectors.Seasonal{
			Location: zone, Threshold: w.threshold(), Direction: w.side(),
			AbsoluteFloor: w.Floor.Absolute, RelativeFloor: w.Floor.Relative, TriggerPoints: w.TriggerPoints, TriggerOf: w.TriggerOf,
			RecoverPoints: w.RecoverPoints, RecoverOf: w.RecoverOf,
		}
	case ModelLocalFit:
		return &detectors.LocalFit{
			Threshold: w.threshold(), Direction: w.side(),
			AbsoluteFloor: w.Floor.Absolute, RelativeFloor: w.Floor.Relative, TriggerPoints: w.TriggerPoints, TriggerOf: w.TriggerOf,
			RecoverPoints: w.RecoverPoints, RecoverOf: w.RecoverOf,
		}
	case ModelCUSUM:
		return &detectors.CUSUM{
			ARL0: w.runLength(), Direction: w.side(), AbsoluteFloor: w.Floor.Absolute, RelativeFloor: w.Floor.Relative,
		}
	case ModelTrend:
		m := &detectors.Trend{Direction: w.side(), Window: w.Window, Horizon: w.Horizon, RecoverPoints: w.RecoverPoints}
		if w.Limit != nil {
			m.Limit = *w.Limit
		}
		return m
	case ModelBurnRate:
		return w.burnRate()
	case ModelAbsence:
		m := &detectors.Absence{
			Interval: w.Every, Patience: w.Patience, FlatAfter: w.FlatAfter, RestsAtZero: w.RestsAtZero, RecoverPoints: w.RecoverPoints,
		}
		if w.FlatAfter == 0 {
			m.FlatPatience = -1
		}
		return m
	case ModelPeers, ModelService:
	}
	return nil
}

func (w Watch) burnRate() *detectors.BurnRate {
	return &detectors.BurnRate{Objective: w.Objective, Windows: w.Windows, RecoverPoints: w.RecoverPoints}
}

func (w Watch) peers() *detectors.Peers {
	return &detectors.Peers{
		Ratio: w.Ratio, Threshold: w.threshold(), Direction: w.side(), AbsoluteFloor: w.Floor.Absolute, RelativeFloor: w.Floor.Relative,
		TriggerPoints: w.TriggerPoints, TriggerOf: w.TriggerOf,
		RecoverPoints: w.RecoverPoints, RecoverOf: w.RecoverOf,
	}
}

func (w Watch) whole(zone *time.Location) *detectors.Service {
	return &detectors.Service{FalseAlarmsPerWeek: w.FalseAlarms, Location: zone}
}

// runLength is how many values of noise give cusum one false alarm; 0 for what it has itself.
func (w Watch) runLength() float64 {
	if w.FalseAlarms == 0 {
		return 0
	}
	_, apart := w.apart()
	return week.Seconds() / apart.Seconds() / w.FalseAlarms
}

// checked is the model of the watch as something that says what is wrong with its parameters; nil when there is none.
func (w Watch) checked() interface{ Validate() error } {
	switch w.model() {
	case ModelPeers:
		return w.peers()
	case ModelService:
		return w.whole(nil)
	}
	if m := w.newModel(nil); m != nil {
		return m
	}
	return nil
}

// learns reports whether the model has a memory that trouble, and what is done about it, would spoil.
func (w Watch) learns() bool {
	return slices.Contains(learners(), w.model())
}

// learners are the models that know a series from its past alone.
func learners() []Model {
	return []Model{ModelAuto, ModelRobustZ, ModelSeasonal, ModelLocalFit, ModelCUSUM}
}

// training is how much history the model of the watch is given at the start.
func (w Watch) training(interval time.Duration) time.Duration {
	const day = 24 * time.Hour
	if w.Training > 0 {
		return w.Training
	}
	switch w.model() {
	case ModelAuto, ModelService:
		return max(7*day, autoRows*interval)
	case ModelSeasonal:
		return 28 * day
	case ModelTrend:
		return max(w.Window, detectors.DefaultTrendWindow)
	case ModelBurnRate:
		longest := time.Duration(0)
		for _, rule := range w.rules() {
			longest = max(longest, rule.Long)
		}
		return longest
	case ModelAbsence:
		return day + w.FlatAfter
	case ModelPeers:
		return 2000 * interval
	case ModelThreshold, ModelRobustZ, ModelLocalFit, ModelCUSUM:
	}
	return modelWindow*interval + modelAdapt
}

// rules are those of burn-rate.
func (w Watch) rules() []detectors.BurnWindow {
	if len(w.Windows) > 0 {
		return w.Windows
	}
	return detectors.DefaultBurnWindows()
}

// forgetAfter is how long a series must be missing to be forgotten.
func (w Watch) forgetAfter(interval time.Duration) time.Duration {
	if w.model() == ModelAbsence {
		return max(removeAbsent, removeIntervals*interval)
	}
	return max(removeAfter, removeIntervals*interval)
}
