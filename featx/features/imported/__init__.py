"""Features that were made elsewhere: their files, their match with the images of a manifest, their store."""
