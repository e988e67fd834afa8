package rcu

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/testutil"
)

// runHere is a reader of Run that doesn't report until released.
func runHere(d *Domain, release chan bool) { d.Run("run", func(*Reader) { <-release }) }

// sectionHere is a goroutine in a section until released.
func sectionHere(d *Domain, release chan bool) {
	defer d.Enter().Exit()
	<-release
}

// sectionPast has had a section.
//
//go:noinline
func sectionPast(d *Domain) { d.Enter().Exit() }

// TestRunIsNamedByItsCaller: the report of a reader of Run has the line that called Run, not one of
// this package. If Run is what a go statement calls, there is no such function: the report then has
// Run, and the stack.
func TestRunIsNamedByItsCaller(t *testing.T) {
	for _, c := range []struct {
		name, file, in string
		start          func(d *Domain, release chan bool)
	}{
		{"called", "rcu/places_test.go:", "rcu.runHere(", func(d *Domain, release chan bool) { go runHere(d, release) }},
		{"started", "rcu/loop.go:", "rcu.(*Domain).Run(", func(d *Domain, release chan bool) {
			go d.Run("run", func(*Reader) { <-release })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d Domain
				var reports reportRecorder
				d.OnStall(time.Second, reports.report)
				release := make(chan bool)
				c.start(&d, release)
				synctest.Wait()
				token := d.Start()
				look(t, &d, token)
				time.Sleep(time.Second)
				look(t, &d, token)
				stalls := reports.take()
				if len(stalls) != 1 || !strings.Contains(stalls[0].Registered, c.file) ||
					!strings.Contains(stalls[0].Stack, c.in) {
					t.Errorf("reported %v", stalls)
				}
				release <- true
			})
		})
	}
}

// TestStalledSectionHasItsPlace: the report has the line of the Enter whose function a goroutine
// still is in, and that goroutine's stack, but no line whose function all have left. All
// goroutines are looked at once. A handler may overwrite what it is given.
func TestStalledSectionHasItsPlace(t *testing.T) {
	if invariants.Enabled {
		t.Skip("this build knows the lines of all open sections")
	}
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		var c reportRecorder
		d.OnStall(time.Second, func(s Stall) {
			own := s.Places
			s.Places = slices.Clone(own)
			c.report(s)
			clear(own)
		})
		profiles := 0
		d.stalls.takeProfile = func(p []runtime.StackRecord) (int, bool) {
			profiles++
			return runtime.GoroutineProfile(p)
		}
		release := make(chan bool)
		sectionPast(&d)
		for range 2 {
			go sectionHere(&d, release)
		}
		synctest.Wait()
		token := d.Start()
		for range 4 {
			look(t, &d, token)
			time.Sleep(time.Second)
		}
		stalls := c.take()
		if len(stalls) != 3 || profiles != 1 {
			t.Fatalf("reported %v, with %d profiles", stalls, profiles)
		}
		frame, _ := runtime.CallersFrames(d.sections.Load().places.all()[1:]).Next()
		place := fmt.Sprintf("%s:%d", frame.File, frame.Line)
		if !strings.HasSuffix(frame.Function, "rcu.sectionHere") {
			t.Errorf("the place is %s in %s", place, frame.Function)
		}
		for _, s := range stalls {
			text := s.String()
			if !slices.Equal(s.Places, []string{place}) || strings.Count(text, "\n\tperhaps entered at "+place+"\n") != 1 ||
				!strings.Contains(text, "\n2 goroutines are in the functions of these lines, and may be in such a section; "+
					"up to 3 stacks:\n") ||
				strings.Count(text, "rcu.sectionHere(") != 1 {
				t.Errorf("the place is %s, reported: %s", place, text)
			}
		}
		release <- true
		release <- true
	})
}

// TestEntersAreLookedAt: the callers of the first sections are noted, those of some later ones
// after a number of grace periods, and more of them while sections hold up a grace period, until
// that is reported. In between no Enter is looked at. Builds that know the lines of all open
// sections need none of these for a report.
func TestEntersAreLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		d.OnStall(time.Second, func(Stall) {})
		for range firstLooks {
			d.Enter().Exit()
		}
		s := d.sections.Load()
		looking := func(when string, want bool) {
			t.Helper()
			if got := d.entrance.Load() == &s.looking; got != want {
				t.Errorf("%s: sections are looked at: %v", when, got)
			}
		}
		looking("after the first sections", false)
		if sectionPast(&d); len(s.places.all()) != 1 {
			t.Errorf("%d places", len(s.places.all()))
		}
		for range drainsPerLook {
			looking("before many grace periods", false)
			if !d.Poll(d.Start()) {
				t.Fatal("not over")
			}
		}
		looking("after many grace periods", true)
		for range laterLooks {
			sectionPast(&d)
		}
		looking("after some sections", false)
		section := d.Enter()
		token := d.Start()
		look(t, &d, token)
		looking("when a grace period begins to wait", false)
		time.Sleep(time.Second / 4)
		look(t, &d, token)
		looking("when it has waited", !invariants.Enabled)
		for range stallLooks {
			d.Enter().Exit()
		}
		looking("after some more sections", false)
		want := 3
		if invariants.Enabled {
			want = 2
		}
		if n := len(s.places.all()); n != want {
			t.Errorf("%d places of %d", n, want)
		}
		time.Sleep(time.Second)
		look(t, &d, token)
		synctest.Wait() // for the report
		for range stallLooks {
			d.Enter().Exit()
		}
		look(t, &d, token)
		looking("when it has been reported", false)
		section.Exit()
		const all = firstLooks + laterLooks + 2*stallLooks + 2
		if st := d.Stats(); !d.Poll(token) || st.Open != 0 || st.Entered != all {
			t.Errorf("%+v", st)
		}
	})
}

// TestPlacesOfOneLine: goroutines that note the same line at once take one place for it.
func TestPlacesOfOneLine(t *testing.T) {
	const goroutines = 2
	rounds := testutil.Stress(t, 100_000)
	var p places
	var arrived atomic.Int64
	wrong := false // written by the first goroutine between two meetings
	meet := func(times int) {
		for arrived.Add(1); arrived.Load() < int64(goroutines*times); {
			runtime.Gosched()
		}
	}
	var done sync.WaitGroup
	for id := range goroutines {
		done.Go(func() {
			for i := range rounds {
				if meet(2*i + 1); wrong {
					return
				}
				p.add(1)
				meet(2*i + 2)
				if id > 0 {
					continue
				}
				if n := len(p.all()); n != 1 {
					t.Errorf("round %d: a line has %d places", i, n)
					wrong = true
				}
				for i := range p.pcs {
					p.pcs[i].Store(0)
				}
			}
		})
	}
	done.Wait()
}

// TestPlacesAreBounded: there is room for some lines, each once.
func TestPlacesAreBounded(t *testing.T) {
	var p places
	for pc := range uintptr(3 * maxPlaces) {
		p.add(pc/2 + 1)
	}
	if n := len(p.all()); n != maxPlaces {
		t.Errorf("%d places", n)
	}
}
