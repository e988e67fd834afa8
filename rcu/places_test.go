package rcu

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slubd/slubd/internal/invariants"
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
// this package.
func TestRunIsNamedByItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		var c reportRecorder
		d.OnStall(time.Second, c.report)
		release := make(chan bool)
		go runHere(&d, release)
		synctest.Wait()
		token := d.Start()
		look(t, &d, token)
		time.Sleep(time.Second)
		look(t, &d, token)
		stalls := c.take()
		if len(stalls) != 1 || !strings.Contains(stalls[0].Registered, "rcu/places_test.go:") ||
			!strings.Contains(stalls[0].Stack, "rcu.runHere(") {
			t.Errorf("reported %v", stalls)
		}
		release <- true
	})
}

// TestStalledSectionHasItsPlace: the report has the line of the Enter whose function a goroutine
// still is in, and that goroutine's stack, but no line whose function all have left. All
// goroutines are looked at once.
func TestStalledSectionHasItsPlace(t *testing.T) {
	if invariants.Enabled {
		t.Skip("this build knows the lines of all open sections")
	}
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		var c reportRecorder
		d.OnStall(time.Second, c.report)
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
		for range 3 {
			look(t, &d, token)
			time.Sleep(time.Second)
		}
		stalls := c.take()
		if len(stalls) != 2 || profiles != 1 {
			t.Fatalf("reported %v, with %d profiles", stalls, profiles)
		}
		for _, s := range stalls {
			text := s.String()
			if len(s.Places) != 1 || strings.Count(text, "\n\tperhaps entered at "+s.Places[0]+"\n") != 1 ||
				!strings.Contains(text, "\none of 2 goroutines in these functions:\n") ||
				strings.Count(text, "rcu.sectionHere(") != 1 {
				t.Error(text)
			}
		}
		frame, _ := runtime.CallersFrames(d.sections.Load().places.all()[1:]).Next()
		place, got := fmt.Sprintf("%s:%d", frame.File, frame.Line), stalls[0].Places
		if !strings.HasSuffix(frame.Function, "rcu.sectionHere") || !slices.Equal(got, []string{place}) {
			t.Errorf("the place is %s in %s, the report has %s", place, frame.Function, got)
		}
		release <- true
		release <- true
	})
}

// TestEntersAreLookedAt: the callers of the first sections are noted, those of some later ones
// after a number of grace periods, and more of them while sections hold up a grace period. In
// between no Enter is looked at.
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
		looking("when it has waited", true)
		for range stallLooks {
			d.Enter().Exit()
		}
		looking("after some more sections", false)
		if n := len(s.places.all()); n != 3 {
			t.Errorf("%d places of 3", n)
		}
		section.Exit()
		const all = firstLooks + laterLooks + stallLooks + 2
		if st := d.Stats(); !d.Poll(token) || st.Open != 0 || st.Entered != all {
			t.Errorf("%+v", st)
		}
	})
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
