//go:build invariants

package slub

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/invariants"
)

// The short paths of an Account keep it alive while their sequences fetch objects from the slabs,
// or give them back, and afterwards: a collection meanwhile doesn't find it lost. Nothing refers to
// it but the operation, and nothing collects but the test.
func TestAccountLivesDuringSequences(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const size = 1024
	b := openBuckets(t, newArena(t, arena.Config{}), BucketsConfig{})
	var ps []unsafe.Pointer
	malloc := func(a *Account) {
		p, err := a.Malloc(size)
		same(t, "Malloc", err, nil)
		ps = append(ps, p)
	}
	free := func(a *Account) {
		p := ps[len(ps)-1]
		ps = ps[:len(ps)-1]
		a.Free(p)
	}
	for _, op := range []struct {
		name string
		do   func(*Account)
		n    int // objects that there are before
	}{{"Malloc", malloc, 1}, {"Free", free, 2000}} {
		a, err := b.NewAccount(AccountConfig{})
		same(t, "NewAccount", err, nil)
		for range op.n {
			malloc(a)
		}
		state, w := a.state, weak.Make(a)
		if state.set.classes[accountedClassOf(size-1)].direct.Load() == notDirect {
			t.Fatal("there is no short path")
		}
		const enough = 3
		collections := 0
		end := invariants.Interrupt(func(invariants.Point) {
			if collections < enough && isCalledBy("(*Account)."+op.name) {
				collections++
				runtime.GC()
				time.Sleep(time.Millisecond) // for the cleanups' goroutine
			}
		})
		for a = nil; collections < enough && w.Value() != nil; {
			op.do(w.Value())
		}
		end()
		if state.closed {
			t.Errorf("%s: the Account has ended during the operation", op.name)
		}
		b.FreeBulk(ps)
		ps = nil
	}
}

// isCalledBy reports whether a function of this package is on the caller's stack.
func isCalledBy(name string) bool {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "/slub."+name) || !more {
			return more
		}
	}
}
