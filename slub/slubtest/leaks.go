package slubtest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/slubd/slubd/internal/frames"
	"github.com/slubd/slubd/slub"
)

const (
	maxSites     = 16 // that one failure shows, those with the most objects
	maxFrames    = 12 // of a stack
	maxAddresses = 4  // of a site
)

// leaks are the leaks of one source, by the cache and the stack that allocated them.
type leaks struct {
	n     int
	sites []*site
	of    map[string]*site
}

// A site is a stack with objects that were allocated there.
type site struct {
	cache   string
	size    int64
	stack   string // "" if they were not sampled
	objects int
	first   []uintptr // addresses
}

func (l *leaks) add(o slub.LiveObject, stack []uintptr) {
	l.n++
	text := lines(stack)
	key := fmt.Sprint(o.Cache, o.Size, text)
	s := l.of[key]
	if s == nil {
		s = &site{cache: o.Cache, size: o.Size, stack: text}
		if l.of == nil {
			l.of = map[string]*site{}
		}
		l.of[key], l.sites = s, append(l.sites, s)
	}
	if s.objects++; len(s.first) < maxAddresses {
		s.first = append(s.first, o.Addr)
	}
}

// text describes the leaks, those of the sites with the most objects first.
func (l *leaks) text(source string) string {
	slices.SortStableFunc(l.sites, func(a, b *site) int { return b.objects - a.objects })
	var b strings.Builder
	fmt.Fprintf(&b, "%s: objects in use at the end of the test: %d", source, l.n)
	for i, s := range l.sites {
		if i == maxSites {
			fmt.Fprintf(&b, "\nand of %d other call sites", len(l.sites)-i)
			break
		}
		fmt.Fprintf(&b, "\n%d of %d bytes, cache %q, %#x", s.objects, s.size, s.cache, s.first)
		if s.stack == "" {
			fmt.Fprintf(&b, ", %s not sampled", map[bool]string{true: "was", false: "were"}[s.objects == 1])
			continue
		}
		fmt.Fprintf(&b, ", allocated by\n%s", s.stack)
	}
	return b.String()
}

// lines writes a stack as a panic does, without the allocator's functions that lead to the sample,
// and those of package testing and the runtime that have called the test.
func lines(stack []uintptr) string {
	if len(stack) == 0 {
		return ""
	}
	var b strings.Builder
	begun, n := false, 0
	for f, all := (runtime.Frame{}), runtime.CallersFrames(stack); n < maxFrames; {
		more := false
		f, more = all.Next()
		outside := strings.HasPrefix(f.Function, "testing.") || strings.HasPrefix(f.Function, "runtime.")
		if begun = begun || !frames.Own(f.Function); begun && !outside && f.Function != "" {
			fmt.Fprintf(&b, "\t%s\n\t\t%s:%d\n", f.Function, f.File, f.Line)
			n++
		}
		if !more {
			break
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
