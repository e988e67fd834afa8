package rcu

import (
	"testing"
	"testing/synctest"
	"time"
)

// A grace period is timed from the first look that finds it not over.
func TestGracePeriodTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		d.OnStall(-1, nil)
		r := d.Register("slow")
		for _, took := range []time.Duration{time.Millisecond, time.Second} {
			before := d.Stats().GracePeriodTimes
			tok := d.Start()
			time.Sleep(time.Hour) // without a look
			if d.Poll(tok) {
				t.Fatal("over at once")
			}
			time.Sleep(took)
			if d.Poll(tok) {
				t.Fatal("over before the reader's report")
			}
			r.Quiescent()
			if !d.Poll(tok) {
				t.Fatal("not over after the reader's report")
			}
			after := d.Stats().GracePeriodTimes
			if after.Count != before.Count+1 || after.Sum != before.Sum+took {
				t.Errorf("%d in %v, before %d in %v; want one of %v", after.Count, after.Sum, before.Count, before.Sum, took)
			}
		}
		r.Offline()
		if d.Poll(d.Start()); d.times.token.Load() != 0 {
			t.Error("a grace period that is over is being timed")
		}
		r.Close()
	})
}

// A goroutine that is overtaken by the end of the grace period leaves nothing to be timed.
func TestBeginAfterTheEnd(t *testing.T) {
	var d Domain
	tok := d.Start()
	if !d.Poll(tok) {
		t.Fatal("not over without readers")
	}
	d.times.begin(tok, &d.completed)
	if d.times.token.Load() != 0 {
		t.Error("a grace period that is over is being timed")
	}
}

// Stats tells how long sections hold up a grace period, also beside an older reader.
func TestOldestSection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		d.OnStall(-1, nil)
		r := d.Register("older")
		first := d.Start()
		d.Poll(first)
		d.Stats() // the reader's time begins
		time.Sleep(time.Minute)
		exit := make(chan struct{})
		go func() { // with -tags invariants a goroutine may not close its reader in a section
			defer d.Enter().Exit()
			<-exit
		}()
		synctest.Wait()
		d.Poll(d.Start())
		d.Stats()
		time.Sleep(time.Second)
		s := d.Stats()
		if s.OldestSection != time.Second || s.OldestReader != time.Minute+time.Second || s.OldestName != "older" {
			t.Errorf("sections for %v, %q for %v", s.OldestSection, s.OldestName, s.OldestReader)
		}
		r.Close()
		if s = d.Stats(); s.OldestSection != time.Second || s.OldestReader != time.Second || s.OldestName != "" {
			t.Errorf("without the reader: sections for %v, %q for %v", s.OldestSection, s.OldestName, s.OldestReader)
		}
		close(exit)
		synctest.Wait()
		if s = d.Stats(); s.OldestSection != 0 || s.OldestReader != 0 {
			t.Errorf("without sections: %v, %v", s.OldestSection, s.OldestReader)
		}
	})
}
