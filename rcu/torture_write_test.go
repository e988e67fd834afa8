package rcu

import (
	"context"
	"math/rand/v2"
	"runtime"
	"time"
)

// wait waits for one grace period, in one of four ways.
func (tt *torture) wait(rng *rand.Rand) {
	tt.mustEnd(func(ctx context.Context) error {
		switch rng.IntN(4) {
		case 0:
			return tt.d.Synchronize(ctx)
		case 1:
			return tt.d.SynchronizeExpedited(ctx)
		case 2:
			token := tt.d.Start()
			randomDelay(rng)
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

// mixer ages several elements at once, by every way to wait, and hands some of them over to
// callbacks.
func (tt *torture) mixer(rng *rand.Rand) {
	var aging []*element
	for tt.going(len(aging)) {
		if e := tt.replace(); e != nil {
			aging = append(aging, e)
		}
		tt.wait(rng)
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

// deferrer ages elements by callbacks that queue themselves again.
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

// poller ages elements by tokens, each at its own pace.
func (tt *torture) poller(*rand.Rand) {
	type waiting struct {
		e     *element
		token Token
	}
	var aging []waiting
	for tt.going(len(aging)) {
		if e := tt.replace(); e != nil {
			aging = append(aging, waiting{e: e, token: tt.d.Start()})
		}
		rest := aging[:0]
		for _, w := range aging {
			if !tt.d.Poll(w.token) {
				rest = append(rest, w)
			} else if tt.grow(w.e) {
				rest = append(rest, waiting{e: w.e, token: tt.d.Start()})
			}
		}
		aging = rest
		runtime.Gosched()
	}
}

// fakeWriter asks for grace periods that no element needs (rcutorture: fake writers).
func (tt *torture) fakeWriter(rng *rand.Rand) {
	for !tt.stop.Load() {
		tt.wait(rng)
		for range rng.IntN(4) {
			tt.d.Start()
		}
		tt.d.DeferN(rng.IntN(100), func() {})
	}
}

// disturber does what must not disturb the others: it gives up waiting, waits for callbacks of
// other goroutines, and reads the figures.
func (tt *torture) disturber(*rand.Rand) {
	for !tt.stop.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Microsecond)
		_ = tt.d.Synchronize(ctx) // either outcome is right
		cancel()
		tt.mustEnd(tt.d.Barrier)
		tt.d.Stats()
	}
}
