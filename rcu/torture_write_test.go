package rcu

import (
	"context"
	"math/rand/v2"
	"runtime"
	"time"
)

// pass goes through one grace period, each time in another way.
func (tt *torture) pass(rng *rand.Rand) {
	tt.within(func(ctx context.Context) error {
		switch rng.IntN(4) {
		case 0:
			return tt.d.Synchronize(ctx)
		case 1:
			return tt.d.SynchronizeExpedited(ctx)
		case 2:
			token := tt.d.Start()
			dawdle(rng)
			return tt.d.Wait(ctx, token)
		default:
			for token := tt.d.Start(); !tt.d.Poll(token); runtime.Gosched() {
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
			return nil
		}
	})
}

// mixer ages several elements at once, by whatever waits, and leaves some of
// them to callbacks.
func (tt *torture) mixer(rng *rand.Rand) {
	var aging []*element
	for tt.going(len(aging)) {
		if e := tt.replace(); e != nil {
			aging = append(aging, e)
		}
		tt.pass(rng)
		rest := aging[:0]
		for _, e := range aging {
			switch {
			case !tt.grow(e):
			case rng.IntN(16) == 0:
				tt.later(e)
			default:
				rest = append(rest, e)
			}
		}
		aging = rest
	}
}

// deferrer ages by callbacks that queue themselves again.
func (tt *torture) deferrer(*rand.Rand) {
	for !tt.stop.Load() {
		if e := tt.replace(); e != nil {
			tt.later(e)
		}
	}
}

func (tt *torture) later(e *element) {
	tt.d.Defer(func() {
		if tt.grow(e) {
			tt.later(e)
		}
	})
}

// poller ages by tokens, each element at its own pace.
func (tt *torture) poller(*rand.Rand) {
	type waiting struct {
		e     *element
		token Token
	}
	var aging []waiting
	for tt.going(len(aging)) {
		if e := tt.replace(); e != nil {
			aging = append(aging, waiting{e, tt.d.Start()})
		}
		rest := aging[:0]
		for _, w := range aging {
			if !tt.d.Poll(w.token) {
				rest = append(rest, w)
			} else if tt.grow(w.e) {
				rest = append(rest, waiting{w.e, tt.d.Start()})
			}
		}
		aging = rest
		runtime.Gosched()
	}
}

// asker wants grace periods for nothing (rcutorture: fake writers).
func (tt *torture) asker(rng *rand.Rand) {
	for !tt.stop.Load() {
		tt.pass(rng)
		for range rng.IntN(4) {
			tt.d.Start()
		}
		tt.d.DeferN(rng.IntN(100), func() {})
	}
}

// nuisance does what must disturb nobody: it gives up waiting, waits for
// other people's callbacks, and looks at the figures.
func (tt *torture) nuisance(*rand.Rand) {
	for !tt.stop.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Microsecond)
		_ = tt.d.Synchronize(ctx) // either outcome is right
		cancel()
		tt.within(tt.d.Barrier)
		tt.d.Stats()
	}
}
