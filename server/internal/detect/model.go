package detect

import (
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
)

// modelNames are those that a watch can have, the default first.
func modelNames() string {
	var names []string
	for _, m := range []Model{ModelAuto, ModelThreshold, ModelRobustZ, ModelSeasonal, ModelLocalFit, ModelCUSUM} {
		names = append(names, string(m))
	}
	return strings.Join(names, ", ")
}

func (w Watch) model() Model {
	if w.Model == "" {
		return ModelAuto
	}
	return w.Model
}

// newModel is a fresh model for one series of the watch, in the civil time of the site that it is about; nil when there is
// none of that name.
func (w Watch) newModel(zone *time.Location) detectors.Model {
	direction := detectors.Both
	switch w.Direction {
	case DirectionAbove:
		direction = detectors.Above
	case DirectionBelow:
		direction = detectors.Below
	case DirectionBoth:
	}
	switch w.model() {
	case ModelAuto:
		return &detectors.Auto{
			FalseAlarmsPerWeek: w.FalseAlarms, Direction: direction, Location: zone,
			AbsoluteFloor: w.Floor.Absolute, RelativeFloor: max(0, w.Floor.Relative),
		}
	case ModelThreshold:
		return &detectors.Threshold{Limit: w.Threshold, Direction: direction}
	case ModelRobustZ:
		return &detectors.RobustZ{
			Window: modelWindow, AdaptAfter: modelAdapt, Threshold: w.Threshold, Direction: direction,
			AbsoluteFloor: w.Floor.Absolute, RelativeFloor: w.Floor.Relative,
		}
	case ModelSeasonal:
		return &detectors.Seasonal{
			Location: zone, Threshold: w.Threshold, Direction: direction,
			AbsoluteFloor: w.Floor.Absolute, RelativeFloor: w.Floor.Relative,
		}
	case ModelLocalFit:
		return &detectors.LocalFit{
			Threshold: w.Threshold, Direction: direction,
			AbsoluteFloor: w.Floor.Absolute, RelativeFloor: w.Floor.Relative,
		}
	case ModelCUSUM:
		return &detectors.CUSUM{Direction: direction, AbsoluteFloor: w.Floor.Absolute, RelativeFloor: w.Floor.Relative}
	}
	return nil
}

// learns reports whether the model has a memory that trouble, and what is done about it, would spoil.
func (w Watch) learns() bool {
	switch w.model() {
	case ModelAuto, ModelRobustZ, ModelSeasonal, ModelLocalFit, ModelCUSUM:
		return true
	case ModelThreshold:
	}
	return false
}

// training is how much history the model of the watch is given at the start.
func (w Watch) training(interval time.Duration) time.Duration {
	const week = 7 * 24 * time.Hour
	switch {
	case w.Training > 0:
		return w.Training
	case w.model() == ModelAuto:
		return week
	case w.model() == ModelSeasonal:
		return 4 * week
	}
	return modelWindow*interval + modelAdapt
}
