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
	n, stacks, _ := p.in(functionOf(pc))
	text := stackTexts(stacks)
	if n > 1 {
		return fmt.Sprintf("one of %d goroutines in that function:\n%s", n, text)
	}
	return text
}

// atPlaces returns file:line of those program counters in whose functions goroutines are, and the
// goroutines' stacks. It says of these that they may be in sections: even a single one need not be.
func (p profile) atPlaces(pcs []uintptr) (places []string, text string) {
	var fns []uintptr
	for _, pc := range pcs {
		fns = append(fns, functionOf(pc))
	}
	n, stacks, used := p.in(fns...)
	for i, pc := range pcs {
		if used[fns[i]] {
			places = append(places, site(pc))
		}
	}
	slices.Sort(places)
	places, text = slices.Compact(places), stackTexts(stacks)
	switch n {
	case 0:
	case 1:
		text = "1 goroutine is in a function of these lines, and may be in such a section:\n" + text
	default:
		text = fmt.Sprintf("%d goroutines are in the functions of these lines, and may be in such a section; "+
			"up to %d stacks:\n%s", n, maxStacks, text)
	}
	return places, text
}

// in returns how many goroutines are in some of the functions, their stacks, each once, and in
// which functions they are. Thousands of handlers may wait at one line.
func (p profile) in(fns ...uintptr) (n int, stacks [][]uintptr, used map[uintptr]bool) {
	used = map[uintptr]bool{}
	known := map[runtime.StackRecord]bool{}
	for i := range p {
		if known[p[i]] {
			n++
			continue
		}
		pcs, found := p[i].Stack(), false
		for _, pc := range pcs {
			if fn := functionOf(pc); slices.Contains(fns, fn) && !callsAll(fn) {
				used[fn], found = true, true
			}
		}
		if found {
			n++
			known[p[i]] = true
			stacks = append(stacks, pcs)
		}
	}
	return n, stacks, used
}

// callsAll reports whether a function calls the first one of every goroutine. It is the caller in:
// go d.Register(...).
func callsAll(fn uintptr) bool {
	f := runtime.FuncForPC(fn)
	return f == nil || f.Name() == "runtime.goexit"
}

// stackTexts formats up to maxStacks stacks of goroutines, each text once.
func stackTexts(stacks [][]uintptr) string {
	var texts []string
	for _, pcs := range stacks {
		if text := stackText(pcs); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
		if len(texts) == maxStacks {
			break
		}
	}
	return strings.Join(texts, "\n\n")
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
