package sys

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openFiles counts the process' file descriptors, with those that the runtime opens for the first
// file that it polls.
func openFiles(t *testing.T) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err := errors.Join(err, r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// TestOpenPressureNotices: where no file gives notice, as those of a directory don't, there is an
// error for each, and nothing stays open. The trigger was written before.
func TestOpenPressureNotices(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/self/cgroup":                  "0::/a\n",
		"proc/self/mountinfo":               mountV2,
		"sys/fs/cgroup/a/memory.events":     "max 1\n",
		"sys/fs/cgroup/a/memory.pressure":   someStalled,
		"sys/fs/cgroup/memory.events/block": "a directory can't be polled either",
	} {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	before := openFiles(t)
	n, err := openPressureNotices(root)
	if n != nil || !errors.Is(err, syscall.EPERM) || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %v, %v", n, err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, %d before", after, before)
	}
	text, err := os.ReadFile(filepath.Join(root, "sys/fs/cgroup/a/memory.pressure"))
	if want := trigger + "\x00"; err != nil || string(text[:len(want)]) != want {
		t.Errorf("%q was written, %v", text, err)
	}
	if n, err := openPressureNotices(t.TempDir()); n != nil || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("without files: %v, %v", n, err)
	}
}

// urgent returns a file that has urgent data, which epoll reports as it does a notice, as often as
// send is called.
func urgent(t *testing.T) (fd int, send func()) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	return pair[0], func() {
		if err := unix.Sendto(pair[1], []byte{0}, unix.MSG_OOB, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPressureNotice: Wait returns for each notice once, says whether it is one of the trigger, and
// ends with its time and by Close, which leaves no file open.
func TestPressureNotice(t *testing.T) {
	before := openFiles(t)
	n := new(PressureNotices)
	if err := n.openEpoll(); err != nil {
		t.Fatal(err)
	}
	events, sendEvents := urgent(t)
	psi, sendPSI := urgent(t)
	n.trigger = psi
	if err := errors.Join(n.add(events), n.add(psi)); err != nil {
		t.Fatal(err)
	}
	for i, stall := range []bool{false, true, true, false} {
		send := sendEvents
		if stall {
			send = sendPSI
		}
		if i%2 == 0 {
			send()
		} else {
			go func() { time.Sleep(time.Millisecond); send() }()
		}
		if stalled, err := n.Wait(0); stalled != stall || err != nil {
			t.Errorf("notice %d: %v, %v, want %v", i, stalled, err, stall)
		}
	}
	if stalled, err := n.Wait(time.Millisecond); stalled || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("without a notice: %v, %v", stalled, err)
	}
	restore := FailNth(CallWaitPressure, 1, syscall.EBADF)
	if _, err := n.Wait(0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("an injected failure: %v", err)
	}
	restore()
	closed := make(chan bool)
	go func() { defer close(closed); time.Sleep(time.Millisecond); n.Close() }()
	if _, err := n.Wait(0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("when it is closed: %v", err)
	}
	<-closed
	n.Close()
	if after := openFiles(t) - 2; after != before { // the other ends
		t.Errorf("%d files are open, %d before", after, before)
	}
}

// TestPressureHere: on this machine all can be read, and opened and closed without a trace. Whether
// the kernel grants a trigger is up to it.
func TestPressureHere(t *testing.T) {
	if _, err := ReadPressure(); err != nil {
		t.Error(err)
	}
	before := openFiles(t)
	n, err := OpenPressureNotices()
	t.Logf("%+v, %v", n, err)
	if err == nil {
		n.Close()
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, %d before", after, before)
	}
}
