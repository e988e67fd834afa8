package slub

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/slubd/slubd/internal/frames"
	"github.com/slubd/slubd/internal/text"
)

// sampledLeaks says of leaked objects that the profile has sampled where they were allocated, and
// how long ago.
type sampledLeaks struct {
	sites []string
	of    map[string]*sampledLeak
}

type sampledLeak struct {
	samples int
	oldest  time.Time
}

func (l *sampledLeaks) add(obj uintptr) {
	s, ok := samples.At(obj)
	if !ok {
		return
	}
	site := callSite(s.Site.Stack)
	leak := l.of[site]
	if leak == nil {
		leak = &sampledLeak{oldest: s.Since}
		if l.of == nil {
			l.of = map[string]*sampledLeak{}
		}
		l.of[site], l.sites = leak, append(l.sites, site)
	}
	leak.samples++
	if s.Since.Before(leak.oldest) {
		leak.oldest = s.Since
	}
}

// String lists up to maxListed sites, those with the most samples first.
func (l *sampledLeaks) String() string {
	slices.SortStableFunc(l.sites, func(a, b string) int { return l.of[b].samples - l.of[a].samples })
	var b strings.Builder
	for i, site := range l.sites {
		switch i {
		case 0:
			b.WriteString("; sampled: ")
		case maxListed:
			b.WriteString(", ...")
			return b.String()
		default:
			b.WriteString(", ")
		}
		leak := l.of[site]
		fmt.Fprintf(&b, "%s from %s, the oldest %v ago", text.Count(leak.samples, "sample", "samples"), site,
			time.Since(leak.oldest).Round(time.Millisecond))
	}
	return b.String()
}

// callSite returns the function, file and line of the first frame of a stack outside the allocator.
func callSite(stack []uintptr) string {
	rest := runtime.CallersFrames(stack)
	for {
		f, more := rest.Next()
		if !more || !frames.Own(f.Function) {
			return fmt.Sprintf("%s (%s:%d)", f.Function, f.File, f.Line)
		}
	}
}
