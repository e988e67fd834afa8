//go:build !(linux && cgo && (amd64 || arm64))

package sys

import (
	"errors"
	"fmt"
)

// CanWatchGuards says whether WatchGuards works in this build.
const CanWatchGuards = false

var errNoHandler = fmt.Errorf("needs Linux and cgo: %w", errors.ErrUnsupported)

// WatchGuards returns an error that wraps errors.ErrUnsupported: a signal handler is C.
func WatchGuards(*GuardArea) error {
	if err := CallWatchGuards.injected(); err != nil {
		return err
	}
	return CallWatchGuards.wrap(errNoHandler)
}
