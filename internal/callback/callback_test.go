package callback

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
)

// ways are the ways in which a callback may not return.
var ways = map[string]func(){"panic": func() { panic("callback") }, "Goexit": runtime.Goexit}

// apart runs f on a goroutine of its own, which may not survive it.
func apart(f func()) {
	done := make(chan bool)
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	<-done
}

// Guard calls lost only for a function that doesn't return, and the goroutine unwinds afterwards.
func TestGuard(t *testing.T) {
	lost := 0
	Guard(func() {}, func() { lost++ })
	if lost != 0 {
		t.Error("a function has returned, and is lost")
	}
	for how, leave := range ways {
		lost, after := 0, false
		apart(func() {
			Guard(leave, func() { lost++ })
			after = true
		})
		if lost != 1 || after {
			t.Errorf("%s: lost %d times, the goroutine goes on: %t", how, lost, after)
		}
	}
}

// Each calls with every element once, in order, however many of the calls return.
func TestEach(t *testing.T) {
	want := []int{0, 1, 2, 3, 4, 5}
	for how, leave := range ways {
		for _, every := range []int{1, 2, 4, 100} {
			var got []int
			apart(func() {
				Each(want, func(i int) {
					if got = append(got, i); (i+1)%every == 0 {
						leave()
					}
				})
			})
			if !slices.Equal(got, want) {
				t.Errorf("%s in each %dth call: %v", how, every, got)
			}
		}
	}
}

// deep calls f behind n more frames.
//
//go:noinline
func deep(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	deep(n-1, f)
}

// Inside is true in functions that Run, Ask and Get call, however deep, and on no other goroutine.
func TestInside(t *testing.T) {
	for _, depth := range []int{0, 1, 50, 60, 61, 62, 63, 64, 65, 200} {
		var run, ask, get, other bool
		deep(depth, func() {
			Run(func(int) { deep(depth, func() { run = Inside() }) }, 1)
			Ask(func(struct{ a, b, c string }) bool {
				deep(depth, func() { ask = Inside() })
				return false
			}, struct{ a, b, c string }{})
			get = Get(func() bool { return Inside() })
		})
		Run(func(done chan bool) {
			go func() {
				other = Inside()
				close(done)
			}()
			<-done
		}, make(chan bool))
		if outside := Inside(); !run || !ask || !get || other || outside {
			t.Errorf("depth %d: in Run %t, Ask %t and Get %t, on another goroutine %t, after them %t",
				depth, run, ask, get, other, outside)
		}
	}
}

// A deferred call of a function further out is outside, though the callback's frames are still on
// the stack.
func TestInsideWhileUnwinding(t *testing.T) {
	for how, leave := range ways {
		inside := true
		apart(func() {
			defer func() { inside = Inside() }()
			Run(func(string) { leave() }, fmt.Sprint(how))
		})
		if inside {
			t.Errorf("%s: a deferred call outside the callback is taken for one inside", how)
		}
	}
}

func BenchmarkInside(b *testing.B) {
	for b.Loop() {
		Inside()
	}
}
