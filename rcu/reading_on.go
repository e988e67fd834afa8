//go:build invariants || race

package rcu

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"weak"
)

// watched has the domains that have had readers or sections, so that Pointer.Load, which knows no
// domain, can ask all of them. It keeps none of them alive.
var watched struct {
	mu      sync.Mutex // Domain.mu and traces.mu are not taken under it
	domains map[weak.Pointer[Domain]]struct{}
}

// watch adds a domain.
func (d *Domain) watch() {
	watched.mu.Lock()
	defer watched.mu.Unlock()
	if watched.domains == nil {
		watched.domains = map[weak.Pointer[Domain]]struct{}{}
	}
	watched.domains[weak.Make(d)] = struct{}{}
}

// watchedDomains returns the domains that there still are.
func watchedDomains() (all []*Domain) {
	watched.mu.Lock()
	defer watched.mu.Unlock()
	for w := range watched.domains {
		if d := w.Value(); d != nil {
			all = append(all, d)
		} else {
			delete(watched.domains, w)
		}
	}
	return all
}

// reading reports whether a goroutine is a reader of the domain at this moment. A reader that is
// online and was not used since Register may be any goroutine's.
func (d *Domain) reading(goroutine uint64) bool {
	if s := d.sections.Load(); s != nil && s.traces.holds(goroutine) {
		return true
	}
	for _, r := range d.list() {
		if last := r.owner.last(); r.seen() != offline && (last == goroutine || last == 0) {
			return true
		}
	}
	return false
}

// readingInPull reports whether a goroutine that is in iter.Pull is a reader of the domain: the
// caller may be on the other side.
func (d *Domain) readingInPull() bool {
	var readers []uint64
	if s := d.sections.Load(); s != nil {
		readers = s.traces.goroutines()
	}
	for _, r := range d.list() {
		if r.seen() != offline {
			readers = append(readers, r.owner.last())
		}
	}
	if len(readers) == 0 {
		return false
	}
	stacks := allStacks()
	return slices.ContainsFunc(readers, func(g uint64) bool {
		state, _ := stateOf(g, stacks)
		return state == inPull
	})
}

// assertReading panics unless the caller is a reader of some domain.
func assertReading(what string) {
	me, all := goroutineID(), watchedDomains()
	if slices.ContainsFunc(all, func(d *Domain) bool { return d.reading(me) }) ||
		slices.ContainsFunc(all, (*Domain).readingInPull) {
		return
	}
	panic(fmt.Sprintf("rcu: %s outside a section, by goroutine %d at %s: what it returns may be freed at any moment",
		what, me, callSite()))
}

// assertReading panics unless the caller is a reader of the domain.
func (d *Domain) assertReading() {
	if me := goroutineID(); !d.reading(me) && !d.readingInPull() {
		panic(fmt.Sprintf("rcu: goroutine %d is no reader of domain %q at %s", me, d.Name, callSite()))
	}
}

// callSite returns file:line of the first caller outside this package and those of package slub, or
// of their tests.
func callSite() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		own := strings.HasPrefix(f.Function, "github.com/slubd/slubd/rcu.") ||
			strings.HasPrefix(f.Function, "github.com/slubd/slubd/slub")
		if !own || strings.HasSuffix(f.File, "_test.go") || !more {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
	}
}
