package sys

import (
	"errors"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ReadPressure returns how often memory was short so far. Each call reads some small files.
//
// Errors: a file could not be read or makes no sense; the result is then without what it says.
func ReadPressure() (Pressure, error) {
	if err := CallReadPressure.injected(); err != nil {
		return Pressure{}, err
	}
	p, err := readPressure(os.DirFS("/"))
	return p, CallReadPressure.wrap(err)
}

// trigger asks for a notice when threads have waited for memory for 150 ms out of 2 s. A process
// without CAP_SYS_RESOURCE may ask for windows of a multiple of 2 s only.
const trigger = "some 150000 2000000"

// PressureNotices waits for notices of the kernel that memory is short: of a PSI trigger, and of
// the file memory.events in each of the process' cgroups.
type PressureNotices struct {
	// Stalls says that there is a PSI trigger, Groups that memory.events gives notice in every
	// cgroup that has it or its like. What gives no notice has to be read.
	Stalls, Groups bool

	epoll   *os.File
	raw     syscall.RawConn // of epoll
	epfd    int             // of epoll
	fds     []int           // all that epoll has
	trigger int             // the trigger's, -1 for none
}

// OpenPressureNotices opens the files that give notice.
//
// Errors: none of them could be opened, or none gives notice: EACCES, EPERM or EROFS, as in most
// containers, ENOENT or EOPNOTSUPP from a kernel without PSI, EINVAL from one whose triggers are
// for CAP_SYS_RESOURCE only, EBUSY from one that has a single trigger for each file.
func OpenPressureNotices() (*PressureNotices, error) {
	if err := CallOpenPressure.injected(); err != nil {
		return nil, err
	}
	n, err := openPressureNotices("/")
	return n, CallOpenPressure.wrap(err)
}

func openPressureNotices(root string) (n *PressureNotices, err error) {
	groups, err := memoryGroups(os.DirFS(root))
	if err != nil {
		return nil, err
	}
	n = &PressureNotices{trigger: -1, Groups: true}
	if err := n.openEpoll(); err != nil {
		return nil, err
	}
	var errs []error
	for _, file := range pressureFiles(groups) {
		fd, err := n.watch(path.Join(root, file), unix.O_RDWR, trigger)
		if err == nil {
			n.Stalls, n.trigger = true, fd
			break
		}
		errs = append(errs, err)
	}
	for _, g := range groups {
		if !g.v2 {
			n.Groups = false
			continue
		}
		for _, dir := range g.levels() {
			_, err := n.watch(path.Join(root, dir, "memory.events"), unix.O_RDONLY, "")
			if err != nil && !errors.Is(err, unix.ENOENT) {
				n.Groups = false
				errs = append(errs, err)
			}
		}
	}
	if len(n.fds) == 0 {
		n.Close()
		return nil, errors.Join(errs...)
	}
	return n, nil
}

// openEpoll makes the epoll instance. The runtime polls it, so that Wait occupies no thread.
func (n *PressureNotices) openEpoll() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	_ = unix.SetNonblock(fd, true) // tells os.NewFile to have it polled
	n.epfd, n.epoll = fd, os.NewFile(uintptr(fd), "pressure")
	n.raw, err = n.epoll.SyscallConn()
	if err != nil {
		n.epoll.Close()
	}
	return err
}

// watch opens a file, writes what is to be written, and adds it to epoll.
func (n *PressureNotices) watch(file string, mode int, write string) (fd int, err error) {
	fd, err = unix.Open(file, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: file, Err: err}
	}
	if write != "" {
		_, err = unix.Write(fd, append([]byte(write), 0)) // the kernel wants the final zero
	}
	if err == nil {
		err = n.add(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "watch", Path: file, Err: err}
	}
	return fd, nil
}

// add has epoll report a notice of the file once. n closes the file.
func (n *PressureNotices) add(fd int) error {
	drain(fd)
	event := unix.EpollEvent{Events: unix.EPOLLPRI | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(n.epfd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return err
	}
	n.fds = append(n.fds, fd)
	return nil
}

// drain reads memory.events, after which the kernel gives notice of the next change.
func drain(fd int) { _, _ = unix.Pread(fd, make([]byte, 512), 0) }

// Wait returns when there is a notice, and whether it is one of the PSI trigger, or when the time
// is over, with os.ErrDeadlineExceeded. 0 has no bound. One goroutine at a time; it occupies no
// thread.
//
// Errors: os.ErrClosed after Close.
func (n *PressureNotices) Wait(most time.Duration) (stalled bool, err error) {
	if err := CallWaitPressure.injected(); err != nil {
		return false, err
	}
	deadline := time.Time{}
	if most > 0 {
		deadline = time.Now().Add(most)
	}
	if err := n.epoll.SetReadDeadline(deadline); err != nil {
		return false, err
	}
	var events [16]unix.EpollEvent
	var failure error
	err = n.raw.Read(func(fd uintptr) bool {
		var count int
		count, failure = unix.EpollWait(int(fd), events[:], 0)
		for _, e := range events[:max(0, count)] {
			if int(e.Fd) == n.trigger {
				stalled = true
			} else {
				drain(int(e.Fd))
			}
		}
		return count > 0 || failure != nil && !errors.Is(failure, unix.EINTR)
	})
	switch {
	case err == nil:
		return stalled, CallWaitPressure.wrap(failure)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, err
	}
	return false, os.ErrClosed // the runtime's own error is another one
}

// Close ends a Wait and closes all files, after the Wait has looked at them for the last time.
// Another Close does nothing.
func (n *PressureNotices) Close() {
	if n.epoll.Close() != nil {
		return
	}
	for _, fd := range n.fds {
		unix.Close(fd)
	}
}
