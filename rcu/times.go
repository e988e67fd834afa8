package rcu

import (
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/loghist"
)

// periodTimes measures how long grace periods take: one at a time, as a sample. Start is not
// involved, which costs one atomic addition and stays so: the time begins when a look finds that
// the grace period is not over. A look that finds another one being timed pays a load.
//
// Goroutines that call begin and end at the same time may mix up the starts of two grace periods
// that began within a moment of each other. Neither a time below zero nor a time of a grace period
// that is still going on can result: end takes the token that begin has stored, once, and begin
// stores the start first.
//
// A goroutine that finds t not over, and is overtaken by the look that finds it over, must not
// leave t to be timed until some later look. So begin stores the token and then loads completed; a
// scan raises completed and then loads the token. One of them sees the other.
type periodTimes struct {
	token    atomic.Uint64 // the grace period that is timed; 0 for none
	start    atomic.Int64  // when it began, since epoch
	recorder loghist.Recorder
}

// epoch makes differences of monotonic times. Under testing/synctest these are the bubble's.
var epoch = time.Now()

// begin notes that t is not over, unless another grace period is being timed.
func (p *periodTimes) begin(t Token, completed *sequence) {
	if p.token.Load() != 0 {
		return
	}
	p.start.Store(int64(time.Since(epoch)))
	if p.token.CompareAndSwap(0, uint64(t)) && reached(completed.load(), t) {
		p.token.CompareAndSwap(uint64(t), 0)
	}
}

// end notes that all grace periods up to completed are over.
func (p *periodTimes) end(completed Token) {
	t := p.token.Load()
	if t == 0 || !reached(completed, Token(t)) {
		return
	}
	start := p.start.Load()
	if p.token.CompareAndSwap(t, 0) {
		p.recorder.Observe(time.Since(epoch) - time.Duration(start))
	}
}
