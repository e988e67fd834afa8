package sys

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SleepAndStore lets the calling thread sleep for d. The kernel then stores a number other than 0
// at word, on the CPU that the thread is on, before the thread returns from the kernel.
//
// Errors are those of timerfd_create(2), timerfd_settime(2) and read(2).
func SleepAndStore(word *uint64, d time.Duration) error {
	if err := CallSleepAndStore.injected(); err != nil {
		return err
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	if err != nil {
		return CallSleepAndStore.wrap(err)
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	err = unix.TimerfdSettime(fd, 0, &at, nil)
	if err == nil {
		err = readWord(fd, word)
		for errors.Is(err, unix.EINTR) {
			err = readWord(fd, word)
		}
	}
	return CallSleepAndStore.wrap(errors.Join(err, unix.Close(fd)))
}

// readWord reads eight bytes of a file to word. The race detector doesn't see the kernel's store,
// as it does with unix.Read: other threads load the word atomically meanwhile.
func readWord(fd int, word *uint64) error {
	const bytes = 8
	_, _, errno := unix.Syscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(word)), bytes)
	if errno != 0 {
		return errno
	}
	return nil
}
