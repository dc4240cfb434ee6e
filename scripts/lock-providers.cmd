@py -3 "%~dp0lock-providers" %*
@exit /b %ERRORLEVEL%
