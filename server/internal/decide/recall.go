package decide

import "github.com/evenkeel/evenkeel/server/internal/core"

// Recall tells an engine that is new what the edge said in the minutes before, oldest first: the demand before a failure
// is what the survivors must take, and who leads since a moment ago has seen it without deciding upon it.
func (e *Engine) Recall(history []core.Traffic) {
	s := newStep(e, e.started)
	for _, t := range history {
		s.remember([]core.Traffic{t})
	}
}
