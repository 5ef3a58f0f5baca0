package detect

import (
	"runtime"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// signalsAtOnce is how many signals are told at a time.
const signalsAtOnce = 256

// batch tells signals, some hundred at a time.
type batch struct {
	tell    func([]core.Signal)
	signals []core.Signal
}

// newBatch has room for the signals of so many series.
func newBatch(tell func([]core.Signal), series int) *batch {
	return &batch{tell: tell, signals: make([]core.Signal, 0, min(series, signalsAtOnce))}
}

func (b *batch) add(s core.Signal) {
	if b.signals = append(b.signals, s); len(b.signals) == signalsAtOnce {
		b.flush()
	}
}

// flush tells what is left.
func (b *batch) flush() {
	if len(b.signals) > 0 {
		b.tell(b.signals)
		b.signals = b.signals[:0]
		runtime.Gosched()
	}
}
