//go:build linux && (amd64 || arm64)

package percpu

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/sys"
)

// TestSelfTestPreemption: the self-test accepts this kernel, and rejects one that restarts no
// sequence: as one treats a sequence whose descriptor has no length.
func TestSelfTestPreemption(t *testing.T) {
	_, err := newSequences()
	needRseq(t, err)
	if err := selfTestPreemption(time.Minute, sys.SleepAndStore); err != nil {
		t.Errorf("this kernel: %v", err)
	}
	good := spinCS
	defer func() { spinCS = good }()
	spinCS.length = 0
	if err := selfTestPreemption(time.Minute, sys.SleepAndStore); !errors.Is(err, errGoesOn) {
		t.Errorf("a kernel that restarts no sequence: %v", err)
	}
}

// TestPreemptionUntested: the self-test fails where it can't look.
func TestPreemptionUntested(t *testing.T) {
	_, err := newSequences()
	needRseq(t, err)
	refused := errors.New("refused")
	for call, nth := range map[sys.Call]int{sys.CallSetAffinity: 1, sys.CallSleepAndStore: 1} {
		restore := sys.FailNth(call, nth, refused)
		if err := selfTestPreemption(time.Minute, sys.SleepAndStore); !errors.Is(err, refused) || !strings.HasPrefix(err.Error(), "self-test of preemption: ") {
			t.Errorf("%v fails: %v", call, err)
		}
		restore()
	}
	restore := sys.FailNth(sys.CallSetAffinity, 2, refused) // the other thread's
	if err := selfTestPreemption(time.Minute, sys.SleepAndStore); !errors.Is(err, refused) {
		t.Errorf("the other thread can't be pinned: %v", err)
	}
	restore()
	wakesEarly := func(*uint64, time.Duration) error { return nil }
	if err := selfTestPreemption(0, wakesEarly); !errors.Is(err, errNoTurn) {
		t.Errorf("no thread interrupts the sequence: %v", err)
	}
}
