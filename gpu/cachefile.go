//go:build cgo

package gpu

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
)

// cacheFile keeps a device's pipeline cache on disk. Drivers need not survive damaged data, so the file carries a head of
// its own that says whose it is and sums it up:
//
//	bytes  0 …  8   "VKCONVPC"
//	       8 … 40   SHA-256 of the device's and driver's identity
//	      40 … 72   SHA-256 of the data
//	      72 … 80   length of the data, little-endian
//	      80 …      the data that the driver gave
//
// A file that does not match in every point is not read, and written anew at the end.
type cacheFile struct {
	path string // "" = none
	key  [32]byte
	log  *slog.Logger
}

const (
	cacheMagic = "VKCONVPC"
	cacheHead  = 80
	cacheMost  = 256 << 20 // longer files are not ours
)

func newCacheFile(d *Device, dir string) cacheFile {
	if dir == "" {
		dir = os.Getenv("VKCONV_CACHE")
	}
	if dir == "" {
		if base, err := os.UserCacheDir(); err == nil {
			dir = filepath.Join(base, "vkconv")
		} else {
			d.log.Info("no folder for pipeline caches", "error", err)
		}
	}
	if dir == "" || dir == "off" {
		return cacheFile{log: d.log}
	}
	i := d.info
	key := sha256.Sum256(fmt.Appendf(nil, "1 %q %q %q %d %d %d %v %x %x", i.Name, i.Driver, i.DriverInfo, i.DriverVersion, i.VendorID,
		i.DeviceID, i.API, i.CacheUUID, i.DeviceUUID))
	return cacheFile{filepath.Join(dir, "pipelines-"+hex.EncodeToString(key[:8])+".bin"), key, d.log}
}

// load returns the data, or nil when there is none to be used.
func (c *cacheFile) load() []byte {
	if c.path == "" {
		return nil
	}
	f, err := os.Open(c.path)
	if err != nil {
		if !os.IsNotExist(err) {
			c.log.Warn("the pipeline cache cannot be read", "error", err)
		}
		return nil
	}
	defer f.Close()
	all, err := io.ReadAll(io.LimitReader(f, cacheMost))
	if err != nil {
		c.log.Warn("the pipeline cache cannot be read", "error", err)
		return nil
	}
	data, why := c.open(all)
	if why != "" {
		c.log.Warn("the pipeline cache is ignored and will be written anew", "file", c.path, "why", why)
	}
	return data
}

func (c *cacheFile) open(all []byte) (data []byte, why string) {
	if len(all) < cacheHead || string(all[:8]) != cacheMagic {
		return nil, "it is no pipeline cache of this program"
	}
	if !bytes.Equal(all[8:40], c.key[:]) {
		return nil, "it belongs to another device or driver"
	}
	data = all[cacheHead:]
	if n := binary.LittleEndian.Uint64(all[72:80]); n != uint64(len(data)) {
		return nil, fmt.Sprintf("it has %d bytes of data and should have %d", len(data), n)
	}
	if sum := sha256.Sum256(data); !bytes.Equal(all[40:72], sum[:]) {
		return nil, "its sum does not match"
	}
	return data, ""
}

// save writes the data beside the old file and then puts it in its place, so that readers see the one or the other whole.
// Failure costs time at the next start and nothing else; it is logged.
func (c *cacheFile) save(data []byte) {
	if c.path == "" || len(data) == 0 || len(data) > cacheMost-cacheHead {
		return
	}
	if err := c.write(data); err != nil {
		c.log.Warn("the pipeline cache was not written", "error", err)
	}
}

func (c *cacheFile) write(data []byte) error {
	dir := filepath.Dir(c.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(c.path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	sum := sha256.Sum256(data)
	head := make([]byte, 0, cacheHead)
	head = append(head, cacheMagic...)
	head = append(head, c.key[:]...)
	head = append(head, sum[:]...)
	head = binary.LittleEndian.AppendUint64(head, uint64(len(data)))
	_, err = f.Write(append(head, data...))
	if e := f.Sync(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), c.path)
}
