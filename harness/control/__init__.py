"""Control: what the bench can do to a device from outside (power, reset, baseline).

`base` holds the `Control` protocol; `qemu`, `process`, `command` and `none` implement it. `holder` keeps the
private network of an emulated device. Import from the modules: this package itself stays light, because
the holder process starts from it.
"""
