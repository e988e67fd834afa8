package rcu

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

const (
	// maxGoroutines bounds a profile: with more goroutines, stalls are reported without stacks. The
	// records take 256 bytes each while a report is made.
	maxGoroutines = 1 << 17
	// maxStacks is how many stacks a report shows if several goroutines could be the reader's.
	maxStacks = 3
)

// A profile has the stacks of all goroutines. The runtime stops all of them for a moment at its
// beginning and end, and collects the stacks while they run. For the text that runtime.Stack makes
// it stops them until the text is complete: 0.1 s with 50,000 goroutines. But a profile has no
// numbers of goroutines: a reader's goroutine is found by a function that it is in.
type profile []runtime.StackRecord

// goroutines takes a profile.
func (s *stalls) goroutines() profile {
	take := s.takeProfile
	if take == nil {
		take = runtime.GoroutineProfile
	}
	for n := runtime.NumGoroutine(); n <= maxGoroutines; {
		p := make(profile, n+n/8+16)
		var ok bool
		if n, ok = take(p); ok {
			return p[:n]
		}
	}
	return profile{}
}

// stackIn returns the stacks of the goroutines that are in the function around pc; "" for none.
func (p profile) stackIn(pc uintptr) string {
	stacks, _ := p.in(functionOf(pc))
	return stackTexts(stacks, "that function")
}

// atPlaces returns file:line of those program counters in whose functions goroutines are, and the
// goroutines' stacks.
func (p profile) atPlaces(pcs []uintptr) (places []string, text string) {
	var fns []uintptr
	for _, pc := range pcs {
		fns = append(fns, functionOf(pc))
	}
	stacks, used := p.in(fns...)
	for i, pc := range pcs {
		if used[fns[i]] {
			places = append(places, site(pc))
		}
	}
	slices.Sort(places)
	return slices.Compact(places), stackTexts(stacks, "these functions")
}

// in returns the stacks of the goroutines that are in some of the functions, and in which.
func (p profile) in(fns ...uintptr) (stacks [][]uintptr, used map[uintptr]bool) {
	used = map[uintptr]bool{}
	for i := range p {
		pcs, found := p[i].Stack(), false
		for _, pc := range pcs {
			if fn := functionOf(pc); slices.Contains(fns, fn) && !callsAll(fn) {
				used[fn], found = true, true
			}
		}
		if found {
			stacks = append(stacks, pcs)
		}
	}
	return stacks, used
}

// callsAll reports whether a function calls the first one of every goroutine. It is the caller
// in: go d.Register(...).
func callsAll(fn uintptr) bool {
	f := runtime.FuncForPC(fn)
	return f == nil || f.Name() == "runtime.goexit"
}

// stackTexts formats up to maxStacks stacks of goroutines, each text once. If there are several
// goroutines it says that they are where.
func stackTexts(stacks [][]uintptr, where string) string {
	var texts []string
	for _, pcs := range stacks {
		if text := stackText(pcs); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
		if len(texts) == maxStacks {
			break
		}
	}
	text := strings.Join(texts, "\n\n")
	if len(stacks) > 1 {
		return fmt.Sprintf("one of %d goroutines in %s:\n%s", len(stacks), where, text)
	}
	return text
}

// functionOf returns where the function starts whose code a return address lies in. What the
// compiler has inlined belongs to the function around it.
func functionOf(pc uintptr) uintptr {
	if f := runtime.FuncForPC(pc - 1); f != nil {
		return f.Entry()
	}
	return 0
}

// stackText formats a stack as the runtime does, without arguments.
func stackText(pcs []uintptr) string {
	var text strings.Builder
	frames := runtime.CallersFrames(pcs)
	for {
		f, more := frames.Next()
		if text.Len() > 0 {
			text.WriteByte('\n')
		}
		fmt.Fprintf(&text, "%s(...)\n\t%s:%d", f.Function, f.File, f.Line)
		if !more {
			return text.String()
		}
	}
}
