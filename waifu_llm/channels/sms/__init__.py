"""SMS, as Twilio sends it and takes it, and as an application's JSON."""
