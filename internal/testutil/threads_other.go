//go:build !linux

package testutil

import (
	"errors"
	"math/rand/v2"
)

// threads can't change CPUs here.
type threads struct{}

func newThreads() (threads, error) { return threads{}, errors.ErrUnsupported }

func (*threads) scatter(*rand.Rand) {}
func (*threads) free()              {}

// BindThreads fails here.
func BindThreads(int) (undo func(), err error) { return nil, errors.ErrUnsupported }
